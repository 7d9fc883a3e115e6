package identity_test

import (
	"os"
	"testing"
	"time"

	"netvps/tunnel/api"
	"netvps/tunnel/identity"
	"netvps/tunnel/internal/gatewaytest"
	"netvps/tunnel/rundir"
)

func start(t *testing.T) (*gatewaytest.Gateway, rundir.Dir) {
	dir := rundir.Dir(t.TempDir())
	return gatewaytest.New(t, string(dir), &api.AgentConfig{}), dir
}

func obtain(t *testing.T, dir rundir.Dir) (*identity.Identity, error) {
	t.Helper()
	boot, err := dir.Boot()
	if err != nil {
		t.Fatal(err)
	}
	return identity.Obtain(t.Context(), dir, boot)
}

// content is identity.pem, which nobody else may read.
func content(t *testing.T, dir rundir.Dir) string {
	t.Helper()
	path := dir.Path(rundir.IdentityFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	return string(data)
}

func TestIdentityIsGotOnceAndKept(t *testing.T) {
	gateway, dir := start(t)
	for range 3 {
		got, err := obtain(t, dir)
		if err != nil || got.Leaf.URIs[0].String() != "netvps://session/s1/epoch/1" {
			t.Fatalf("%v %v", got, err)
		}
	}
	if boots, _ := gateway.Counts(); boots != 1 {
		t.Fatalf("%d tokens used", boots)
	}
}

func TestKeyIsKeptWhenTheAnswerIsLost(t *testing.T) {
	gateway, dir := start(t)
	gateway.Stop()
	if _, err := obtain(t, dir); err == nil {
		t.Fatal("an identity from nobody")
	}
	key := content(t, dir)
	gateway.Start()
	if _, err := obtain(t, dir); err != nil {
		t.Fatal(err)
	}
	if now := content(t, dir); now[:len(key)] != key {
		t.Fatal("the token was tried with two keys")
	}
}

func TestWhatIsKeptIsGotAnewWhenItDoesNotFit(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *gatewaytest.Gateway, rundir.Dir){
		"expired": func(*testing.T, *gatewaytest.Gateway, rundir.Dir) {}, // see below
		"epoch":   func(_ *testing.T, g *gatewaytest.Gateway, _ rundir.Dir) { g.WriteBoot(2) },
		"CA": func(t *testing.T, g *gatewaytest.Gateway, _ rundir.Dir) {
			g.Stop()
			g.CA = gatewaytest.NewCA(t)
			g.WriteBoot(1)
			g.Start()
		},
		"damaged": func(t *testing.T, _ *gatewaytest.Gateway, dir rundir.Dir) {
			if err := os.WriteFile(dir.Path(rundir.IdentityFile), []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			gateway, dir := start(t)
			if name == "expired" {
				gateway.CA.SetLife(-time.Second)
			}
			_, _ = obtain(t, dir)
			gateway.CA.SetLife(time.Hour)
			spoil(t, gateway, dir)
			if _, err := obtain(t, dir); err != nil {
				t.Fatal(err)
			}
			if boots, _ := gateway.Counts(); boots != 2 {
				t.Fatalf("%d tokens used", boots)
			}
		})
	}
}

func TestRenewAtAThirdOfLife(t *testing.T) {
	gateway, dir := start(t)
	gateway.CA.SetLife(29 * time.Minute) // 30 with the minute that has passed
	got, err := obtain(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if left := got.Leaf.NotAfter.Sub(got.RenewAt()); left != 10*time.Minute {
		t.Fatalf("renewed with %v left", left)
	}
}
