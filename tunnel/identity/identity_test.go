package identity_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"netvps/tunnel/api"
	"netvps/tunnel/identity"
	"netvps/tunnel/internal/gatewaytest"
	"netvps/tunnel/rundir"
)

func load(t *testing.T, dir rundir.Dir) error {
	t.Helper()
	boot, err := dir.Boot()
	if err != nil {
		t.Fatal(err)
	}
	_, err = identity.Load(dir, boot)
	return err
}

func TestOnlyAnIdentityThatFitsTheBootFileIsUsed(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *gatewaytest.Gateway, rundir.Dir){
		"expired": func(_ *testing.T, g *gatewaytest.Gateway, _ rundir.Dir) {
			g.CA.SetLife(-time.Second)
			g.WriteIdentity(1)
		},
		"epoch": func(_ *testing.T, g *gatewaytest.Gateway, _ rundir.Dir) { g.WriteIdentity(2) },
		"CA": func(t *testing.T, g *gatewaytest.Gateway, _ rundir.Dir) {
			g.CA = gatewaytest.NewCA(t)
			g.WriteIdentity(1)
		},
		"damaged": func(t *testing.T, _ *gatewaytest.Gateway, dir rundir.Dir) {
			if err := os.WriteFile(dir.Path(rundir.IdentityFile), []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rundir.Dir(t.TempDir())
			gateway := gatewaytest.New(t, string(dir), &api.AgentConfig{})
			if err := load(t, dir); err != nil {
				t.Fatal(err)
			}
			spoil(t, gateway, dir)
			if err := load(t, dir); err == nil {
				t.Fatal("it is used")
			}
			gateway.CA.SetLife(time.Hour)
			gateway.WriteBoot(2)
			if err := load(t, dir); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMissingIdentityIsDistinguished(t *testing.T) {
	dir := rundir.Dir(t.TempDir())
	gatewaytest.New(t, string(dir), &api.AgentConfig{})
	if err := os.Remove(dir.Path(rundir.IdentityFile)); err != nil {
		t.Fatal(err)
	}
	if err := load(t, dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func FuzzIdentity(f *testing.F) {
	dir := rundir.Dir(f.TempDir())
	gatewaytest.New(f, string(dir), &api.AgentConfig{})
	good, err := os.ReadFile(dir.Path(rundir.IdentityFile))
	if err != nil {
		f.Fatal(err)
	}
	boot, err := dir.Boot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		pair, err := identity.Parse(data, boot, time.Now())
		if err == nil && (pair.Leaf == nil || pair.PrivateKey == nil) {
			t.Fatal("half an identity is used")
		}
	})
}
