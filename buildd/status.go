package buildd

// Status is a snapshot of the builder. It changes nothing and waits for no other
// call: of the disk it reads the end of the log while a build runs, and without
// one whether the builder is drained.
func (d *Daemon) Status() Status {
	s := d.board.now.Load()
	status := s.status
	if status.State == Idle {
		if drain := ReadDrain(d.files.state); drain != nil && !d.board.loss.telling() {
			status.Drained = drain.String()
		}
		if why := d.disk.broken.Load(); why != nil {
			status.Drained = *why
		}
		return status
	}
	if s.tailer != nil {
		status.LogTail = s.tailer.Tail()
	}
	return status
}

// Told notes what a manager was answered. Nobody else's question begins the time
// in which a loss is told.
func (d *Daemon) Told(s Status) {
	if s.State != Idle {
		return
	}
	if s.Drained == "" {
		d.board.loss.told()
	}
	d.drain.look()
}

// ProxyInfo answers for the current build, from its acceptance until clean.
func (d *Daemon) ProxyInfo() (ProxyInfo, error) {
	s := d.board.now.Load()
	if s.status.State == Idle {
		return ProxyInfo{}, &Fault{Reason: "proxy_info: there is no build"}
	}
	t, err := findType(d.cfg.Types, s.tag)
	if err != nil {
		return ProxyInfo{}, err
	}
	if t.NoProxyInfo {
		return ProxyInfo{}, &Fault{Reason: "proxy_info: " + s.tag + " builds have no proxy"}
	}
	return s.proxy, nil
}
