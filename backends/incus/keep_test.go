package incus

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lxc/incus/v6/shared/api"
)

// keeping is an engine with one stopped container.
type keeping struct {
	mu    sync.Mutex // guards what follows
	asked []string
	put   api.InstancePut
	// broken is a request that fails.
	broken string
}

func (k *keeping) serve(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	request := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/1.0/")
	body, _ := io.ReadAll(r.Body)
	if !strings.HasPrefix(request, "GET operations/") && !strings.HasSuffix(request, "/state") {
		k.asked = append(k.asked, request)
	}
	switch {
	case request == k.broken:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"type": "error", "error": "no such luck", "error_code": 400}`)
	case strings.HasSuffix(request, "/state"):
		_, _ = io.WriteString(w, `{"type": "sync", "metadata": {"status": "Stopped", "status_code": 102}}`)
	case request == "GET instances/c":
		_, _ = io.WriteString(w, `{"type": "sync", "metadata": {"name": "c", "profiles": ["c"],
			"config": {"volatile.uuid": "1234", "volatile.eth0.hwaddr": "00:16:3e:00:00:01"}}}`)
	case request == "PUT instances/c":
		_ = json.Unmarshal(body, &k.put)
		fallthrough
	case strings.HasPrefix(request, "POST "):
		_, _ = io.WriteString(w, `{"type": "async", "metadata": {"id": "1"}}`)
	case strings.HasPrefix(request, "GET operations/"):
		_, _ = io.WriteString(w, `{"type": "sync", "metadata": {"status_code": 200}}`)
	default:
		_, _ = io.WriteString(w, `{"type": "sync", "metadata": {}}`)
	}
}

// toBeKept is a container of such an engine, and the record of what was made.
func (k *keeping) toBeKept(t *testing.T) (*Container, *[]string) {
	t.Helper()
	cfg := listen(t, Incus, k.serve)
	ledger := &[]string{"container c", "profile c"}
	cfg.Arch, cfg.Bridge = "amd64", "br0"
	cfg.HostAddress, cfg.Address = netip.MustParsePrefix("10.10.10.1/24"), netip.MustParsePrefix("10.10.10.2/24")
	cfg.Record = func(kind, name string) error { *ledger = append(*ledger, kind+" "+name); return nil }
	cfg.Done = func(kind, name string) error {
		*ledger = slices.DeleteFunc(*ledger, func(e string) bool { return e == kind+" "+name })
		return nil
	}
	return assemble(&guest{cfg: cfg, server: mustConnect(t, cfg), name: "c", made: []string{KindContainer, KindProfile}}), ledger
}

func TestAKeptContainerStandsAlone(t *testing.T) {
	var k keeping
	c, ledger := k.toBeKept(t)
	if err := c.Keep(t.Context(), "kept", nil); err != nil {
		t.Fatal(err)
	}
	want := "GET instances/c, PUT instances/c, POST instances/c, DELETE profiles/c"
	if got := strings.Join(k.asked, ", "); got != want {
		t.Errorf("the engine was asked to %s", got)
	}
	if k.put.Profiles == nil || len(k.put.Profiles) > 0 || len(k.put.Devices) != 1 || k.put.Devices["root"]["path"] != "/" {
		t.Errorf("it is %+v", k.put)
	}
	config := k.put.Config
	if config["volatile.uuid"] != "1234" || config["security.privileged"] != "true" ||
		!strings.Contains(config["raw.lxc"], "lxc.apparmor.profile=unconfined") || strings.Contains(config["raw.lxc"], "lxc.net") {
		t.Errorf("its configuration is %v", config)
	}
	// Until it is released, it is the build's.
	if got := fmt.Sprint(*ledger); got != "[container kept]" || c.Name() != "kept" {
		t.Errorf("on record is %s", got)
	}
	k.asked = nil
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context()); err != nil || len(*ledger) != 0 || len(k.asked) != 0 {
		t.Errorf("%v; on record is %s, the engine was asked to %v", err, *ledger, k.asked)
	}
}

// TestAContainerThatCannotBeKept is deleted under the name that it has then.
func TestAContainerThatCannotBeKept(t *testing.T) {
	for _, c := range []struct{ broken, ledger string }{
		{"GET instances/c", "[container c profile c]"},
		{"DELETE profiles/c", "[profile c container kept]"},
	} {
		k := keeping{broken: c.broken}
		container, ledger := k.toBeKept(t)
		err := container.Keep(t.Context(), "kept", nil)
		// A profile that stays behind is no reason, and stays on record.
		if (err == nil) != strings.HasPrefix(c.broken, "DELETE") {
			t.Errorf("%s: got %v", c.broken, err)
		}
		if got := fmt.Sprint(*ledger); got != c.ledger {
			t.Errorf("%s: on record is %s", c.broken, got)
		}
	}
}

func TestNamesOfKeptContainers(t *testing.T) {
	for instance, want := range map[string]string{
		"default":                "lp-kept-default-0123abcd",
		"":                       "lp-kept-0123abcd",
		strings.Repeat("x", 100): "lp-kept-" + strings.Repeat("x", 46) + "-0123abcd",
	} {
		if got := KeptName(instance, "0123abcd"); got != want {
			t.Errorf("%.20s: %s", instance, got)
		}
	}
}
