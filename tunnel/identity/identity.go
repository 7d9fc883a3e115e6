// Package identity loads the agent's client certificate. The runner obtains it, renews it, and stores it in the runtime
// folder; the agent only reads it.
package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"netvps/tunnel/rundir"
)

// Load returns the key and certificate in the folder's identity.pem, checked against the boot file: one session and
// epoch, its CA, valid now. The error is fs.ErrNotExist until the runner has written it.
func Load(dir rundir.Dir, boot rundir.Boot) (tls.Certificate, error) {
	data, err := os.ReadFile(dir.Path(rundir.IdentityFile))
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := Parse(data, boot, time.Now())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", rundir.IdentityFile, err)
	}
	return pair, nil
}

// URI returns the identity in the certificate of a session's agent.
func URI(boot rundir.Boot) string {
	return fmt.Sprintf("netvps://session/%s/epoch/%d", boot.SessionUID, boot.Epoch)
}

// Roots returns the only CA that the agent trusts.
func Roots(boot rundir.Boot) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(boot.CACertificate)) {
		return nil, errors.New("boot.json: ca_certificate is no PEM certificate")
	}
	return pool, nil
}

// Parse checks key and certificate (PEM) against the boot file, at a time.
func Parse(data []byte, boot rundir.Boot, now time.Time) (tls.Certificate, error) {
	keyPEM, certPEM := split(data)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return pair, err
	}
	roots, err := Roots(boot)
	if err != nil {
		return pair, err
	}
	options := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := pair.Leaf.Verify(options); err != nil {
		return pair, err
	}
	if len(pair.Leaf.URIs) != 1 || pair.Leaf.URIs[0].String() != URI(boot) {
		return pair, fmt.Errorf("certificate is for %v, not for %s", pair.Leaf.URIs, URI(boot))
	}
	return pair, nil
}

// split returns the key and the certificates of identity.pem; either may be missing.
func split(data []byte) (keyPEM, certPEM []byte) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "PRIVATE KEY" {
			keyPEM = pem.EncodeToMemory(block)
		} else {
			certPEM = append(certPEM, pem.EncodeToMemory(block)...)
		}
	}
	return keyPEM, certPEM
}
