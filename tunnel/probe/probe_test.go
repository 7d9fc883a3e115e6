package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestReadyIsAPortThatAcceptsOrAStatusBelow400(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/nowhere", http.StatusFound)
		case r.URL.Path != "/healthz" || asked.Add(1) < 3:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for _, args := range [][]string{{}, {"-path", "/healthz"}, {"-path", "/moved"}} {
		if err := Run(append(args, fmt.Sprint(port))); err != nil {
			t.Fatal(args, err)
		}
	}
	if n := asked.Load(); n != 3 {
		t.Fatalf("asked %d times", n)
	}
	err := Run([]string{"-path", "/other", "-timeout", "1ms", fmt.Sprint(port)})
	if err == nil || !strings.Contains(err.Error(), "GET /other: 503") && !strings.Contains(err.Error(), "deadline") {
		t.Fatal(err)
	}
}

func TestAPortThatNothingListensOnSaysSo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Wait(ctx, address, ""); err == nil {
		t.Fatal("ready")
	}
}

func TestWhatIsNoPortIsRefused(t *testing.T) {
	for _, args := range [][]string{{}, {"x"}, {"0"}, {"70000"}, {"80", "81"}} {
		if err := Run(args); err == nil || !strings.Contains(err.Error(), "not a port") {
			t.Fatal(args, err)
		}
	}
}
