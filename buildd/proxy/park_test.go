package proxy_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/proxy"
)

const (
	childID     = "PROXY_TEST_PARKING_ID"
	childJoined = "PROXY_TEST_JOINED"
)

// parkedID is an id that is forgotten when the test ends.
func parkedID(t *testing.T) string {
	t.Helper()
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true); err != nil {
		t.Skipf("needs a kernel with keyrings: %v", err)
	}
	id := proxy.ParkingID("TEST-" + t.Name())
	t.Cleanup(func() {
		if err := proxy.Forget(id); err != nil {
			t.Error(err)
		}
	})
	return id
}

func sample() proxy.Token {
	return proxy.Token{UpstreamURL: "http://u:" + password + "@proxy.test:3128", Endpoint: "http://auth.test/1", FetchService: true}
}

func wantParked(t *testing.T, id string, want proxy.Token) {
	t.Helper()
	if got, err := proxy.Unpark(id); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}

func wantNone(t *testing.T, id string) {
	t.Helper()
	if got, err := proxy.Unpark(id); !errors.Is(err, proxy.ErrNotParked) || got != (proxy.Token{}) {
		t.Errorf("got %v, %v; want ErrNotParked", got, err)
	}
}

func TestParkedTokenStaysUntilForgotten(t *testing.T) {
	id := parkedID(t)
	wantNone(t, id)
	if err := proxy.Forget(id); err != nil {
		t.Error("forgetting nothing:", err)
	}
	for _, token := range []proxy.Token{{UpstreamURL: "http://old:old@x"}, sample()} {
		if err := token.Park(id); err != nil {
			t.Fatal(err)
		}
		wantParked(t, id, token)
		wantParked(t, id, token)
	}
	if err := proxy.Forget(id); err != nil {
		t.Error(err)
	}
	wantNone(t, id)
}

// TestBuildersShareAKeyringNotTheirTokens: a manager may give a build that it
// believes lost to another builder of this machine.
func TestBuildersShareAKeyringNotTheirTokens(t *testing.T) {
	first, second := parkedID(t), parkedID(t)
	old := proxy.Token{UpstreamURL: "http://old:old@x"}
	if err := errors.Join(old.Park(first), sample().Park(second)); err != nil {
		t.Fatal(err)
	}
	wantParked(t, first, old)
	wantParked(t, second, sample())
	if err := proxy.Forget(second); err != nil {
		t.Error(err)
	}
	wantParked(t, first, old)
	wantNone(t, second)
}

// TestParkInAnotherProcess is the other process of the next test.
func TestParkInAnotherProcess(t *testing.T) {
	id := os.Getenv(childID)
	if id == "" {
		t.Skip("it is only for another test")
	}
	if os.Getenv(childJoined) == "" {
		// A service's session does not have the keyring of its user. A thread
		// leaves its session alone, and takes it with it into a new program.
		runtime.LockOSThread()
		_, err := unix.KeyctlJoinSessionKeyring("lpbuildd-test")
		t.Fatal(err, unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), childJoined+"=1")))
	}
	if err := sample().Park(id); err != nil {
		t.Fatal(err)
	}
	wantParked(t, id, sample())
}

func TestParkedTokenOutlivesTheProcess(t *testing.T) {
	id := parkedID(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestParkInAnotherProcess$")
	child.Env = append(os.Environ(), childID+"="+id)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantParked(t, id, sample())
}

// The root of a privileged container has the same keyring.
func TestKeyringHoldsNothingThatCanBeRead(t *testing.T) {
	id := parkedID(t)
	if err := sample().Park(id); err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile("/proc/keys")
	if err != nil {
		t.Skip("needs a kernel that lists keys:", err)
	}
	noSecrets(t, string(keys))
	found := false
	for line := range strings.Lines(string(keys)) {
		if serial, _, _ := strings.Cut(line, " "); strings.Contains(line, t.Name()) {
			found = true
			noSecrets(t, contentOf(t, serial))
		}
	}
	if !found {
		t.Errorf("the token is not in\n%s", keys)
	}
	if _, key, _ := strings.Cut(id, "/"); strings.Contains(string(keys), key) {
		t.Error("the key of the id is in the keyring")
	}
}

// contentOf is what is in a key of this user.
func contentOf(t *testing.T, serial string) string {
	t.Helper()
	runtime.LockOSThread() // which then has the user's keyring
	defer runtime.UnlockOSThread()
	_, err := unix.KeyctlInt(unix.KEYCTL_LINK, unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
	id, idErr := strconv.ParseInt(serial, 16, 32)
	data := make([]byte, 4096)
	n, readErr := unix.KeyctlBuffer(unix.KEYCTL_READ, int(id), data, 0)
	if err := errors.Join(err, idErr, readErr); err != nil || n == 0 || n > len(data) {
		t.Fatalf("cannot read the key: %d, %v", n, err)
	}
	return string(data[:n])
}

func TestOnlyParkingIDsAreAccepted(t *testing.T) {
	for _, id := range []string{"", "/", "build-1", "build/zz", "build/00", proxy.ParkingID("")} {
		_, err := proxy.Unpark(id)
		if err == nil || errors.Is(err, proxy.ErrNotParked) || proxy.Forget(id) == nil || sample().Park(id) == nil {
			t.Errorf("%q is accepted", id)
		}
	}
	if a, b := proxy.ParkingID("x"), proxy.ParkingID("x"); a == b {
		t.Error("two builds have the same key")
	}
}
