package backends

import (
	"os/exec"
	"strings"
	"testing"
)

// TestACommandIsCutBetweenItsWords, so that what knows secrets finds those that
// are there.
func TestACommandIsCutBetweenItsWords(t *testing.T) {
	secret := strings.Repeat("s", 60)
	for _, tt := range []struct {
		words []string
		name  string
		want  string
	}{
		{[]string{"1000001"}, "", "sleep 1000001"},
		{[]string{"1000001", strings.Repeat("0", 86)}, "", "sleep 1000001 " + strings.Repeat("0", 86)},
		{[]string{"1000001", strings.Repeat("0", 87)}, "", "sleep 1000001 ..."},
		{[]string{"1000001", strings.Repeat("0", 30), secret}, "", "sleep 1000001 " + strings.Repeat("0", 30) + " ..."},
		{[]string{strings.Repeat("0", 200) + "1"}, "", "sleep ..."},
		{[]string{"1000001"}, strings.Repeat("x", 1000), "sleep"},
	} {
		cmd := exec.CommandContext(t.Context(), "sleep", tt.words...)
		if tt.name != "" {
			cmd.Args[0] = tt.name
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		got := commandOf(cmd.Process.Pid)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
