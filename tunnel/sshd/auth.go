package sshd

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// sourceAddress is the one critical option understood; x/crypto/ssh enforces it.
const sourceAddress = "source-address"

var errNotAuthorized = errors.New("key is not authorized")

// login is what authentication found out, carried in ssh.Permissions.ExtraData under the type itself.
type login struct {
	credential credential
	by         string // for logs
}

// loginKey is the key of a login in ssh.Permissions.ExtraData.
type loginKey struct{}

// authenticate is the PublicKeyCallback. It is asked about keys that the client may not have: it only reads.
func (s *Server) authenticate(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if _, err := s.Users.Lookup(meta.User()); err != nil {
		return nil, err
	}
	permissions := &ssh.Permissions{}
	found := login{}
	if cert, ok := key.(*ssh.Certificate); ok {
		if err := s.checkCertificate(meta.User(), cert); err != nil {
			return nil, fmt.Errorf("certificate %q: %w", cert.KeyId, err)
		}
		found = login{credential{string(cert.SignatureKey.Marshal()), true}, fmt.Sprintf("certificate %q", cert.KeyId)}
		permissions.CriticalOptions = cert.CriticalOptions
	} else {
		found = login{credential{string(key.Marshal()), false}, ssh.FingerprintSHA256(key)}
	}
	if !s.policy.Load().holds(found.credential) {
		return nil, errNotAuthorized
	}
	permissions.ExtraData = map[any]any{loginKey{}: found}
	return permissions, nil
}

// checkCertificate leaves the question whether the CA is ours to the policy.
func (s *Server) checkCertificate(user string, cert *ssh.Certificate) error {
	if cert.CertType != ssh.UserCert {
		return errors.New("not a user certificate")
	}
	if len(cert.ValidPrincipals) == 0 { // to the checker: good for everyone
		return errors.New("no principals")
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}}
	return checker.CheckCert(s.SessionUID+"/"+user, cert)
}
