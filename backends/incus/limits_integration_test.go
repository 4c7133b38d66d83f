//go:build integration

package incus_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/incus"
)

func TestAContainerKeepsItsLimits(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := realImage(t)
		cfg := p.config(t)
		cfg.CPUs, cfg.Memory = 0.4, 256<<20
		c, err := incus.New(cfg)
		check(t, err)
		defer takeAway(t, c)
		start(t, c, image)

		burn := "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
		used, err := strconv.ParseFloat(strings.TrimSpace(output(t, c, "python3 -c '"+burn+"'")), 64)
		check(t, err)
		t.Logf("%.2f s of processor time in 4 s", used)
		if share := used / 4; share > 0.5 {
			t.Errorf("the container used %.2f processors, its limit is 0.4", share)
		}

		var exit *backends.ExitError
		err = c.Run(t.Context(), backends.Command{Argv: []string{"python3", "-c", "x = b'x' * (500 << 20)"}})
		if !errors.As(err, &exit) || exit.Code != 137 {
			t.Errorf("a command that needs too much memory: %v", err)
		}
		// What the supervisor looks at, in the old or the new place.
		count := "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null | grep '^oom_kill ' | cut -d ' ' -f 2"
		if kills := output(t, c, count); kills != "1\n" {
			t.Errorf("the kernel counts %q kills", kills)
		}
		if got := output(t, c, "echo alive"); got != "alive\n" {
			t.Errorf("the container does not go on: %q", got)
		}
	})
}
