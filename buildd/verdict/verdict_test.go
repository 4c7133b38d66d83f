package verdict

import (
	"errors"
	"os"
	"testing"
)

func TestMarkHostFault(t *testing.T) {
	_, full := os.Open("/no/such/file")
	if err := MarkHostFault(full); err != full { //nolint:errorlint // it must be unchanged
		t.Errorf("a missing file became %v", err)
	}
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("needs /dev/full: %v", err)
	}
	defer func() { _ = f.Close() }()
	_, err = f.WriteString("x")
	var fault *HostFault
	if marked := MarkHostFault(err); !errors.As(marked, &fault) || fault.Advice == "" || marked.Error() != err.Error() {
		t.Errorf("a full disk became %v", marked)
	}
}
