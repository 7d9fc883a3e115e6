package address

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const hosts = "127.0.0.1\tlocalhost\n10.128.4.2\tdev1\n10.128.4.20\tother\n"

func addresses(texts ...string) (found []net.Addr) {
	for _, text := range texts {
		address, network, _ := net.ParseCIDR(text)
		found = append(found, &net.IPNet{IP: address, Mask: network.Mask})
	}
	return found
}

func waiter(t *testing.T, moved string) (*Waiter, *strings.Builder) {
	t.Helper()
	folder, said := t.TempDir(), &strings.Builder{}
	w := &Waiter{
		File: filepath.Join(folder, "address.json"), Hosts: filepath.Join(folder, "hosts"),
		Patience: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(said, nil)),
	}
	for path, content := range map[string]string{w.File: moved, w.Hosts: hosts} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w, said
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const moved = `{"address": "10.128.0.2", "local_address": "10.128.4.2"}`

func TestItWaitsAndTheHostsFileHasTheAddress(t *testing.T) {
	w, said := waiter(t, moved)
	w.Patience = time.Minute
	asked := 0
	w.addresses = func() ([]net.Addr, error) {
		asked++
		if asked < 3 {
			return addresses("127.0.0.1/8", "10.128.4.2/22"), nil
		}
		return addresses("127.0.0.1/8", "10.128.0.2/32"), nil
	}
	for range 2 {
		w.Wait()
		want := "127.0.0.1\tlocalhost\n10.128.0.2\tdev1\n10.128.4.20\tother\n"
		if got := content(t, w.Hosts); got != want || said.String() != "" {
			t.Errorf("%q, said %q", got, said)
		}
	}
	if asked != 4 {
		t.Error("asked", asked)
	}
}

func TestWithoutTheRunnerItStartsAllTheSame(t *testing.T) {
	w, said := waiter(t, moved)
	w.addresses = func() ([]net.Addr, error) { return addresses("10.128.4.2/22", "10.128.0.20/32"), nil }
	w.Wait()
	if !strings.Contains(said.String(), "the runner has not given it within 50ms") || content(t, w.Hosts) != hosts {
		t.Error(said, content(t, w.Hosts))
	}
}

func TestWhatIsNotOfTheRunnerIsSaid(t *testing.T) {
	for _, text := range []string{"", "{", `{"address": "x", "local_address": "10.128.4.2"}`} {
		w, said := waiter(t, text)
		w.Wait()
		if said.String() == "" || content(t, w.Hosts) != hosts {
			t.Error(text)
		}
	}
}

func TestOneThatDidNotMoveDoesNotWait(t *testing.T) {
	w, said := waiter(t, moved)
	w.addresses = func() ([]net.Addr, error) { t.Fatal("asked"); return nil, nil }
	if err := os.Remove(w.File); err != nil {
		t.Fatal(err)
	}
	w.Wait()
	if said.String() != "" {
		t.Error(said)
	}
}
