package buildd

import (
	"slices"
	"testing"
)

func TestHelpersDoNotInheritWhatIsForThisProcess(t *testing.T) {
	t.Setenv("SUDO_UID", "1")
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	t.Setenv("WATCHDOG_PID", "1")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("http_proxy", "http://192.0.2.1")
	got := environment()
	for _, kv := range []string{"SUDO_UID=1", "NOTIFY_SOCKET=/nowhere", "WATCHDOG_PID=1", "WATCHDOG_USEC=1"} {
		if slices.Contains(got, kv) {
			t.Errorf("helpers get %s", kv)
		}
	}
	if !slices.Contains(got, "http_proxy=http://192.0.2.1") {
		t.Error("helpers lose what is for them")
	}
}
