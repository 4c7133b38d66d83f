package buildd

import (
	"maps"
	"time"

	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
)

// snapshot is what status and proxy_info show. It is replaced as a whole, so
// that no call ever waits for another.
type snapshot struct {
	status Status // without LogTail
	tag    string
	proxy  ProxyInfo
	tailer *buildlog.Tailer // in Building

	// accepted is when the build that runs was, the zero time without one.
	accepted time.Time
	inUse    []string // cache entries that must not be evicted
}

// Status is a snapshot of the builder. It changes nothing and waits for no other
// call: of the disk it reads the end of the log while a build runs, and without
// one whether the builder is drained.
func (d *Daemon) Status() Status {
	s := d.now.Load()
	status := s.status
	if status.State == Idle {
		if !d.loss.telling() {
			status.Drained = d.drained()
		}
		if why := d.broken.Load(); why != nil {
			status.Drained = *why
		}
		return status
	}
	if s.tailer != nil {
		status.LogTail = s.tailer.Tail()
	}
	return status
}

// Told notes what a manager was answered.
func (d *Daemon) Told(s Status) {
	if s.State == Idle && s.Drained == "" {
		d.loss.told()
	}
}

// ProxyInfo answers for the current build, from its acceptance until clean.
func (d *Daemon) ProxyInfo() (ProxyInfo, error) {
	s := d.now.Load()
	if s.status.State == Idle {
		return ProxyInfo{}, &Fault{Reason: "proxy_info: there is no build"}
	}
	t, err := d.findType(s.tag)
	if err != nil {
		return ProxyInfo{}, err
	}
	if t.NoProxyInfo {
		return ProxyInfo{}, &Fault{Reason: "proxy_info: " + s.tag + " builds have no proxy"}
	}
	return s.proxy, nil
}

// publish shows the journal to everyone. The caller holds mu.
func (d *Daemon) publish() {
	old := d.now.Load()
	s := &snapshot{
		status: Status{State: d.j.State, Version: d.cfg.Version},
		tag:    d.j.Tag,
		proxy:  d.j.ProxyInfo,
		inUse:  d.j.inUse(),

		accepted: d.j.running(),
	}
	if d.j.State != Idle {
		s.status.BuildID = d.j.BuildID
	}
	if d.j.State == Building {
		s.tailer = buildlog.NewTailer(d.logPath(), d.j.Private)
	}
	if o := d.j.Outcome; o != nil {
		s.status.Outcome, s.status.FileMap = o.Status, o.FileMap
		s.status.Dependencies, s.status.Extra = o.Dependencies, o.Extra
	} else if old != nil && old.status.BuildID == s.status.BuildID {
		s.status.Extra = old.status.Extra
	}
	if d.j.State != Idle {
		s.status.Extra = d.extra(s.status.Extra)
	}
	d.show(old, s)
	d.cfg.Changed()
	d.protect()
}

// show replaces the snapshot.
func (d *Daemon) show(old, s *snapshot) {
	d.now.Store(s)
	if old != nil && old.tailer != nil && old.tailer != s.tailer {
		old.tailer.Close()
	}
}

// note shows what a supervisor told about its build.
func (d *Daemon) note(a attempt, e job.Event) {
	if e.Extra == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.runs(a) {
		return
	}
	s := *d.now.Load()
	s.status.Extra = d.extra(e.Extra)
	d.now.Store(&s)
}

// extra adds to what is told of a build what its type has from the start. The
// caller holds mu.
func (d *Daemon) extra(told map[string]any) map[string]any {
	t, err := d.findType(d.j.Tag)
	if err != nil || len(t.Extra) == 0 {
		return told
	}
	all := maps.Clone(t.Extra)
	maps.Copy(all, told)
	return all
}

// protect tells the cache what must not be evicted from now on.
func (d *Daemon) protect() {
	d.protecting.Lock()
	defer d.protecting.Unlock()
	s := d.now.Load()
	d.cfg.Cache.SetInUse(s.inUse, inUseSince(s.accepted))
}
