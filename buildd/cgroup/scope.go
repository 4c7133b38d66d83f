package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// slice holds the scopes of all builds on this machine.
const slice = "lpbuildd.slice"

// startWait is how long systemd may take to make a scope.
const startWait = 20 * time.Second

// orderTarget is the unit of the package that keeps builds until their builders have
// ended.
const orderTarget = "lpbuildd-builds.target"

// enterScope is Enter with systemd, over its own socket: there need not be a
// message bus.
func enterScope(ctx context.Context, cfg Config, pids []int) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask systemd for a scope: %w", err)
	}
	defer conn.Close()
	name := prefix + cfg.Name + ".scope"
	if err := limitSlice(ctx, conn, cfg.Total); err != nil {
		return fmt.Errorf("cannot limit %s: %w", slice, err)
	}
	done := make(chan string, 1)
	if _, err := conn.StartTransientUnitContext(ctx, name, "fail", scope(cfg, pids), done); err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("cannot start %s: systemd says %q", name, result)
		}
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("cannot start %s", name), context.Cause(ctx))
	}
}

// scope are the properties of the scope of a build.
func scope(cfg Config, pids []int) []dbus.Property {
	tasks := infinity
	if cfg.Build.Processes > 0 {
		tasks = uint64(cfg.Build.Processes)
	}
	processes := make([]uint32, 0, len(pids))
	for _, pid := range pids {
		processes = append(processes, uint32(pid)) // process ids are small and positive
	}
	properties := []dbus.Property{
		dbus.PropDescription("a build of lpbuildd"),
		dbus.PropSlice(slice),
		dbus.PropPids(processes...),
		// A scope that was killed must not stay in the list.
		property("CollectMode", "inactive-or-failed"),
		property("CPUAccounting", true),
		property("MemoryAccounting", true),
		property("TasksMax", tasks),
		// What stops a scope ends its build at once. Asked to end, the processes of
		// the package would do so first, and the build would look like one that failed.
		property("KillSignal", int32(unix.SIGKILL)),
		property("Before", []string{orderTarget}),
		// When a process is killed for want of memory, the others go on: the
		// supervisor must tell. Without delegation systemd would stop them.
		property("Delegate", true),
	}
	return append(properties, limiting(cfg.Build)...)
}

// infinity is how systemd calls no limit.
const infinity = uint64(math.MaxUint64)

// limiting are the properties for limits.
func limiting(l Limits) []dbus.Property {
	cpu, memory, swap := infinity, infinity, infinity
	if l.CPUs > 0 {
		cpu = max(1, uint64(math.Round(l.CPUs*float64(time.Second/time.Microsecond))))
	}
	if l.Memory > 0 {
		// Otherwise a build evades its limit into swap space.
		memory, swap = uint64(l.Memory), 0
	}
	return []dbus.Property{
		property("CPUQuotaPerSecUSec", cpu), property("MemoryMax", memory), property("MemorySwapMax", swap),
	}
}

// limitSlice limits all builds together, if that is not as it should be. It
// writes nothing to the disk.
func limitSlice(ctx context.Context, conn *dbus.Conn, total Limits) error {
	for _, want := range limiting(total) {
		is, err := conn.GetUnitTypePropertyContext(ctx, slice, "Slice", want.Name)
		if err != nil {
			return err
		}
		if is.Value == want.Value {
			continue
		}
		if err := conn.SetUnitPropertiesContext(ctx, slice, true, want); err != nil {
			return err
		}
	}
	return nil
}

func property(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}
