package sshd_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/api"
)

func (r *rig) apply(change func(*api.AgentConfig)) {
	change(r.config)
	r.config.Generation++
	r.server.Apply(r.config)
}

func (r *rig) ca() ssh.Signer {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	r.check(err)
	ca, err := ssh.NewSignerFromSigner(private)
	r.check(err)
	return ca
}

func line(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }

func TestOnlyAuthorizedKeysLogIn(t *testing.T) {
	r := newRig(t)
	r.newKey("other")
	cmd := r.client("ssh", append(r.options("other"), "-p", r.portText(), to(t), "true")...)
	if got := r.run(cmd); got.code != 255 || !strings.Contains(got.stderr, "Permission denied (publickey)") {
		t.Fatalf("got %+v", got)
	}
}

func TestRemovedKeyLogsInNoMoreAndItsConnectionsAreClosed(t *testing.T) {
	r := newRig(t)
	client := r.dial()
	closed := make(chan error, 1)
	go func() { closed <- client.Wait() }()
	r.apply(func(c *api.AgentConfig) { c.AuthorizedKeys = append(c.AuthorizedKeys, "ssh-ed25519 broken") })
	if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Fatalf("closed though its key is still there: %v", err)
	}
	r.apply(func(c *api.AgentConfig) { c.AuthorizedKeys = nil })
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Fatal("still connected")
	}
	if got := r.run(r.ssh(to(t), "true")); got.code != 255 {
		t.Fatalf("got %+v", got)
	}
}

func TestRSAWithSHA1IsRefused(t *testing.T) {
	r := newRig(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	r.check(err)
	signer, err := ssh.NewSignerFromKey(key)
	r.check(err)
	r.apply(func(c *api.AgentConfig) { c.AuthorizedKeys = []string{line(signer.PublicKey())} })
	for algorithm, accepted := range map[string]bool{ssh.KeyAlgoRSASHA256: true, ssh.KeyAlgoRSA: false} {
		only, err := ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{algorithm})
		r.check(err)
		client, err := ssh.Dial("tcp", "127.0.0.1:"+r.portText(), &ssh.ClientConfig{
			User: me(t), Auth: []ssh.AuthMethod{ssh.PublicKeys(only)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if (err == nil) != accepted {
			t.Errorf("%s: got %v", algorithm, err)
		}
		if err == nil {
			r.check(client.Close())
		}
	}
}

func TestKeyWithOptionsIsNotTakenWithoutThem(t *testing.T) {
	r := newRig(t)
	r.apply(func(c *api.AgentConfig) { c.AuthorizedKeys = []string{`command="/bin/false" ` + r.key} })
	if got := r.run(r.ssh(to(t), "true")); got.code != 255 {
		t.Fatalf("got %+v", got)
	}
}

func TestCertificates(t *testing.T) {
	hour := uint64(time.Now().Add(time.Hour).Unix())
	for name, test := range map[string]struct {
		principals []string
		options    map[string]string
		before     uint64
		kind       uint32
		ok         bool
	}{
		"right principal":        {[]string{"s1/" + me(t)}, nil, hour, ssh.UserCert, true},
		"one of several":         {[]string{"s2/root", "s1/" + me(t)}, nil, hour, ssh.UserCert, true},
		"another session":        {[]string{"s2/" + me(t)}, nil, hour, ssh.UserCert, false},
		"another user":           {[]string{"s1/daemon"}, nil, hour, ssh.UserCert, false},
		"name of the user only":  {[]string{me(t)}, nil, hour, ssh.UserCert, false},
		"a person of the config": {[]string{"users/ann"}, nil, hour, ssh.UserCert, true},
		"another person":         {[]string{"users/bob"}, nil, hour, ssh.UserCert, false},
		"several people":         {[]string{"users/ann", "users/bob"}, nil, hour, ssh.UserCert, false},
		"a person, expired":      {[]string{"users/ann"}, nil, 1, ssh.UserCert, false},
		"no principals":          {nil, nil, hour, ssh.UserCert, false},
		"expired":                {[]string{"s1/" + me(t)}, nil, 1, ssh.UserCert, false},
		"host certificate":       {[]string{"s1/" + me(t)}, nil, hour, ssh.HostCert, false},
		"force-command":          {[]string{"s1/" + me(t)}, map[string]string{"force-command": "true"}, hour, ssh.UserCert, false},
		"from here":              {[]string{"s1/" + me(t)}, map[string]string{"source-address": "127.0.0.0/8"}, hour, ssh.UserCert, true},
		"from elsewhere":         {[]string{"s1/" + me(t)}, map[string]string{"source-address": "192.0.2.0/24"}, hour, ssh.UserCert, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ca := r.ca()
			r.apply(func(c *api.AgentConfig) {
				c.AuthorizedKeys, c.UserCaKeys, c.UserPrincipals = nil, []string{line(ca.PublicKey())}, []string{"users/ann"}
			})
			key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(r.key))
			r.check(err)
			cert := &ssh.Certificate{
				Key: key, CertType: test.kind, KeyId: "test", ValidPrincipals: test.principals, ValidBefore: test.before,
				Permissions: ssh.Permissions{CriticalOptions: test.options},
			}
			r.check(cert.SignCert(rand.Reader, ca))
			r.check(os.WriteFile(filepath.Join(r.dir, "id-cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o600))
			if got := r.run(r.ssh(to(t), "echo in")); (got.stdout == "in\n") != test.ok {
				t.Fatalf("got %+v", got)
			}
			r.apply(func(c *api.AgentConfig) { c.UserCaKeys = nil })
			if got := r.run(r.ssh(to(t), "echo in")); got.stdout != "" {
				t.Fatalf("the CA is gone, and yet: %+v", got)
			}
		})
	}
}

func TestAPersonWhoMayNotLogInAnyMoreIsDisconnected(t *testing.T) {
	r := newRig(t)
	ca := r.ca()
	r.apply(func(c *api.AgentConfig) {
		c.AuthorizedKeys, c.UserCaKeys, c.UserPrincipals = nil, []string{line(ca.PublicKey())}, []string{"users/ann", "users/bob"}
	})
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(r.key))
	r.check(err)
	cert := &ssh.Certificate{
		Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"users/bob"}, ValidBefore: ssh.CertTimeInfinity,
	}
	r.check(cert.SignCert(rand.Reader, ca))
	r.check(os.WriteFile(filepath.Join(r.dir, "id-cert.pub"), ssh.MarshalAuthorizedKey(cert), 0o600))
	cmd := r.ssh(to(t), "echo in; exec sleep 60")
	out, err := cmd.StdoutPipe()
	r.check(err)
	r.check(cmd.Start())
	if first, err := bufio.NewReader(out).ReadString('\n'); first != "in\n" {
		t.Fatalf("got %q, %v", first, err)
	}
	r.apply(func(c *api.AgentConfig) { c.UserPrincipals = []string{"users/ann"} })
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 255 {
		t.Fatalf("got %v", err)
	}
}

func TestHostCertificateIsOffered(t *testing.T) {
	r := newRig(t)
	ca := r.ca()
	cert := &ssh.Certificate{
		Key: r.server.HostKey.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"dev1"},
		ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	r.check(cert.SignCert(rand.Reader, ca))
	r.apply(func(c *api.AgentConfig) { c.HostCertificate = line(cert) })
	known := "@cert-authority * " + line(ca.PublicKey()) + "\n"
	r.check(os.WriteFile(filepath.Join(r.dir, "known_hosts"), []byte(known), 0o600))
	if got := r.run(r.ssh("-o", "HostKeyAlias=dev1", to(t), "true")); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	if got := r.run(r.ssh("-o", "HostKeyAlias=dev2", to(t), "true")); got.code != 255 {
		t.Fatalf("another name: %+v", got)
	}
}
