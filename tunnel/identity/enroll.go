package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"netvps/tunnel/api"
	"netvps/tunnel/faults"
	"netvps/tunnel/rundir"
)

// callTimeout bounds each exchange for a certificate, the connection included.
const callTimeout = 30 * time.Second

// Obtain returns the identity kept in the folder if it is good for this boot file, else a new one for its token.
func Obtain(ctx context.Context, dir rundir.Dir, boot rundir.Boot) (*Identity, error) {
	path := dir.Path(rundir.IdentityFile)
	keyPEM, certPEM := read(path)
	if identity, err := parse(keyPEM, certPEM, boot, time.Now()); err == nil {
		return identity, nil
	}
	key, err := parseKey(keyPEM)
	if err != nil || certPEM != nil {
		if key, keyPEM, err = newKey(); err != nil {
			return nil, err
		}
		// Kept before the token is used: if the answer is lost, the token is good for this key only.
		if err := rundir.WriteFile(path, keyPEM); err != nil {
			return nil, err
		}
	}
	faults.Point("agent.before_exchange")
	cert, err := bootAgent(ctx, dir, boot, key)
	if err != nil {
		return nil, fmt.Errorf("exchange boot token: %w", err)
	}
	faults.Point("agent.after_exchange")
	return store(path, keyPEM, []byte(cert), boot)
}

// Renew gets a certificate for a new key over a connection that the old one opened.
func Renew(ctx context.Context, dir rundir.Dir, boot rundir.Boot, conn grpc.ClientConnInterface) (*Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := request(key, boot)
	if err != nil {
		return nil, err
	}
	answer, err := api.NewCertificateServiceClient(conn).RenewCertificate(ctx, &api.RenewCertificateRequest{Csr: csr})
	if err != nil {
		return nil, err
	}
	return store(dir.Path(rundir.IdentityFile), keyPEM, []byte(answer.GetCertificate()), boot)
}

func bootAgent(ctx context.Context, dir rundir.Dir, boot rundir.Boot, key *ecdsa.PrivateKey) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	csr, err := request(key, boot)
	if err != nil {
		return "", err
	}
	roots, err := Roots(boot)
	if err != nil {
		return "", err
	}
	conn, err := grpc.NewClient("passthrough:///"+boot.ServerName,
		grpc.WithTransportCredentials(credentials.NewTLS(
			&tls.Config{RootCAs: roots, ServerName: boot.ServerName, MinVersion: tls.VersionTLS12})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return dir.Dial(ctx, rundir.BootSocket)
		}))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	answer, err := api.NewEnrollmentServiceClient(conn).BootAgent(ctx,
		&api.BootAgentRequest{BootToken: boot.BootToken, Csr: csr})
	if err != nil {
		return "", err
	}
	return answer.GetCertificate(), nil
}

func store(path string, keyPEM, certPEM []byte, boot rundir.Boot) (*Identity, error) {
	identity, err := parse(keyPEM, certPEM, boot, time.Now())
	if err != nil {
		return nil, fmt.Errorf("certificate from the control plane: %w", err)
	}
	return identity, rundir.WriteFile(path, append(keyPEM, certPEM...))
}
