package job_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

func TestLimitsSurviveTheirFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := job.ReadLimits(state.Build(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	want := job.Limits{Instance: "two-1", CPUs: 1.5, Memory: 4 << 30, TotalCPUs: 3.5, TotalMemory: 7 << 30}
	if err := job.WriteLimits(state.Build(dir), want); err != nil {
		t.Fatal(err)
	}
	got, err := job.ReadLimits(state.Build(dir))
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestReadLimitsRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no name", `{}`, "instance"},
		{"a name that is a path", `{"instance":"../../x"}`, "instance"},
		{"a name that is a property", `{"instance":"a=b"}`, "instance"},
		{"a name without end", `{"instance":"` + strings.Repeat("a", 100) + `"}`, "instance"},
		{"less than nothing", `{"instance":"a","cpus":-1}`, "cpus"},
		{"too much", `{"instance":"a","total_cpus":1e9}`, "cpus"},
		{"negative memory", `{"instance":"a","memory":-5}`, "memory"},
		{"something else", `instance`, "limits.json"},
		{"a file without end", `{"instance":"a","more":"` + strings.Repeat("a", 5000) + `"}`, "limits.json: it is larger than 4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(state.Build(dir).Limits(), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := job.ReadLimits(state.Build(dir)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	t.Run("a link", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink("/dev/null", state.Build(dir).Limits()); err != nil {
			t.Fatal(err)
		}
		if _, err := job.ReadLimits(state.Build(dir)); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

func TestMaxJobs(t *testing.T) {
	for _, tt := range []struct {
		cpus             float64
		processors, want int
	}{{0, 4, 4}, {2, 4, 2}, {1.5, 4, 2}, {0.1, 4, 1}, {8, 4, 4}} {
		if got := (job.Limits{CPUs: tt.cpus}).MaxJobs(tt.processors); got != tt.want {
			t.Errorf("%v of %d processors: got %d, want %d", tt.cpus, tt.processors, got, tt.want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1K", 1536: "1536", 10241: "10K", 4 << 30: "4G", 512 << 20: "512M",
		7_800_000_000: "7438M", 3 << 40: "3T",
	} {
		if got := job.FormatSize(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
