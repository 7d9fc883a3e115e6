package dialback_test

import (
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

func TestTheNextConnectionUsesARenewedCertificate(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.CA.SetLife(-time.Second)
	a.WriteIdentity(1)
	a.Stop()
	a.Start()
	select {
	case hello := <-a.Hellos:
		t.Fatalf("it came with a certificate that has ended: %v", hello)
	case <-time.After(500 * time.Millisecond):
	}
	a.CA.SetLife(time.Hour)
	a.WriteIdentity(1)
	a.NextHello()
}

func TestAgentWaitsForARunnerThatIsAway(t *testing.T) {
	a := start(t)
	a.NextHello()
	a.Stop() // closes the sockets, too, as the end of a runner does
	time.Sleep(3 * time.Second)
	restarted := time.Now()
	a.Start()
	a.NextHello()
	if took := time.Since(restarted); took > time.Second {
		t.Fatalf("the agent took %v to come back: no backoff for a local socket", took)
	}
}
