// Package identity keeps the agent's client certificate: got once for the boot token, kept in the runtime folder,
// renewed before it ends.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"netvps/tunnel/rundir"
)

// Identity is a key with a certificate that is valid for one session and epoch.
type Identity struct {
	Certificate tls.Certificate
	Leaf        *x509.Certificate
}

// RenewAt is when a third of the certificate's life is left.
func (i *Identity) RenewAt() time.Time {
	return i.Leaf.NotAfter.Add(-i.Leaf.NotAfter.Sub(i.Leaf.NotBefore) / 3)
}

// URI is the name that the certificate of a session's agent carries.
func URI(boot rundir.Boot) string {
	return fmt.Sprintf("netvps://session/%s/epoch/%d", boot.SessionUID, boot.Epoch)
}

// Roots is the one CA that the agent believes.
func Roots(boot rundir.Boot) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(boot.CACertificate)) {
		return nil, errors.New("boot.json: ca_certificate is no PEM certificate")
	}
	return pool, nil
}

// parse checks that key and certificate belong together, to this session and epoch, under this CA, now.
func parse(keyPEM, certPEM []byte, boot rundir.Boot, now time.Time) (*Identity, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	roots, err := Roots(boot)
	if err != nil {
		return nil, err
	}
	options := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := pair.Leaf.Verify(options); err != nil {
		return nil, err
	}
	if len(pair.Leaf.URIs) != 1 || pair.Leaf.URIs[0].String() != URI(boot) {
		return nil, fmt.Errorf("certificate is for %v, not for %s", pair.Leaf.URIs, URI(boot))
	}
	return &Identity{Certificate: pair, Leaf: pair.Leaf}, nil
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func request(key *ecdsa.PrivateKey, boot rundir.Boot) (string, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: boot.SessionUID}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// read splits identity.pem into its key and its certificates; either may be missing.
func read(path string) (keyPEM, certPEM []byte) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "PRIVATE KEY" {
			keyPEM = pem.EncodeToMemory(block)
		} else {
			certPEM = append(certPEM, pem.EncodeToMemory(block)...)
		}
	}
	return keyPEM, certPEM
}

func parseKey(keyPEM []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("no key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ecdsaKey, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key is a %T", key)
	}
	return ecdsaKey, nil
}
