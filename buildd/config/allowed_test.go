package config

import (
	"strings"
	"testing"
)

func TestDaemonRunsOnlyWhereItIsAllowed(t *testing.T) {
	tests := []struct {
		name, value string
		set, want   bool
	}{
		{"started by hand", "", false, true},
		{"the switch is on", "yes", true, true},
		{"the switch is off", "no", true, false},
		{"the switch is empty", "", true, false},
		{"only yes is yes", "YES", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Allowed(func(name string) (string, bool) { return tt.value, tt.set && name == "RUN_NETWORK_REQUESTS_AS_ROOT" })
			if (err == nil) != tt.want {
				t.Fatalf("got %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "/etc/default/launchpad-buildd") {
				t.Errorf("got %v", err)
			}
		})
	}
}
