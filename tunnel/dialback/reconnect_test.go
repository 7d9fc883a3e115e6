package dialback_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"netvps/tunnel/internal/gatewaytest"
)

func TestLateDialIsDroppedAndItsTargetClosed(t *testing.T) {
	a := start(t)
	a.NextHello()
	id, _ := a.Ask(toSSH)
	a.Forget(id)
	stream := must[*gatewaytest.Stream](t)(a.Open(toSSH)) // the next one is not disturbed
	_ = stream.SendEOF()
	must[[]byte](t)(stream.ReadAll())
	stream.End()
}

func TestAgentComesBackWithItsCertificateAfterTheGatewayDid(t *testing.T) {
	a := start(t)
	a.NextHello()
	for range 3 {
		a.Stop()
		time.Sleep(50 * time.Millisecond) // some attempts fail
		a.Start()
		a.NextHello()
	}
	stream := must[*gatewaytest.Stream](t)(a.Open(toSSH))
	_ = stream.SendEOF()
	must[[]byte](t)(stream.ReadAll())
	stream.End()
	if boots, _ := a.Counts(); boots != 1 {
		t.Fatalf("%d tokens used", boots)
	}
}

func TestNewEpochMeansANewCertificate(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.Stop()
	a.WriteBoot(2)
	a.Start()
	if hello := a.NextHello(); hello.GetEpoch() != 2 {
		t.Fatalf("hello: %v", hello)
	}
	if boots, _ := a.Counts(); boots != 2 {
		t.Fatalf("%d tokens used", boots)
	}
}

func TestConnectionsLiveOnWhileTheGatewayDrains(t *testing.T) {
	a := start(t)
	a.NextHello()
	old := must[*gatewaytest.Stream](t)(a.Open(toSSH))
	a.Start() // a second gateway takes over the sockets
	a.Drain()
	a.NextHello()
	for _, stream := range []*gatewaytest.Stream{old, must[*gatewaytest.Stream](t)(a.Open(toSSH))} {
		_ = stream.SendData([]byte("still here"))
		_ = stream.SendEOF()
		if got := must[[]byte](t)(stream.ReadAll()); string(got) != "still here" {
			t.Fatalf("got %q", got)
		}
		stream.End()
	}
}

func TestCertificateIsRenewedWhenAThirdOfItsLifeIsLeft(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.Stop()
	if err := os.Remove(filepath.Join(a.Dir, "identity.pem")); err != nil {
		t.Fatal(err)
	}
	a.CA.SetLife(20 * time.Second) // of 80 s in all: due at once
	a.Start()
	a.NextHello()
	a.CA.SetLife(time.Hour)
	waitFor(t, "a renewal", func() bool { _, renewals := a.Counts(); return renewals > 0 })
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
