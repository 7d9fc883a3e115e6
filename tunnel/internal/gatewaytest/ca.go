package gatewaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// ServerName is the name in the gateway's certificate.
const ServerName = "control.netvps.internal"

// CA signs certificates of a gateway and of agents.
type CA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	life atomic.Int64 // of the certificates it issues to agents, ns
}

// NewCA makes a CA.
func NewCA(t testing.TB) *CA {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := certificate("test CA", time.Hour)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	ca := &CA{key: key, cert: cert}
	ca.SetLife(time.Hour)
	return ca
}

// SetLife sets the validity of the next agents' certificates; all are valid since a minute ago.
func (ca *CA) SetLife(life time.Duration) { ca.life.Store(int64(life)) }

// PEM is the CA's certificate.
func (ca *CA) PEM() string { return encode("CERTIFICATE", ca.cert.Raw) }

// identity creates a key and a client certificate for it, PEM.
func (ca *CA) identity(t testing.TB, uri string) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	name, err := url.Parse(uri)
	check(t, err)
	template := certificate("agent", time.Duration(ca.life.Load()))
	template.URIs, template.ExtKeyUsage = []*url.URL{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	check(t, err)
	return []byte(encode("PRIVATE KEY", private) + encode("CERTIFICATE", der))
}

// Identity is a client's TLS configuration with a certificate for a URI.
func (ca *CA) Identity(t testing.TB, uri string) *tls.Config {
	text := ca.identity(t, uri)
	pair, err := tls.X509KeyPair(text, text)
	check(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: ca.pool(), ServerName: ServerName}
}

// Server makes a key and a certificate of a gateway, PEM.
func (ca *CA) Server(t testing.TB) (certificatePEM, keyPEM string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	template := certificate("gateway", time.Hour)
	template.DNSNames, template.ExtKeyUsage = []string{ServerName}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	check(t, err)
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", private)
}

func (ca *CA) pool() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return roots
}

func (ca *CA) server(t testing.TB, clients tls.ClientAuthType) *tls.Config {
	certificatePEM, keyPEM := ca.Server(t)
	pair, err := tls.X509KeyPair([]byte(certificatePEM), []byte(keyPEM))
	check(t, err)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: clients, ClientCAs: ca.pool(), MinVersion: tls.VersionTLS12,
	}
}

func certificate(name string, life time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
	}
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
