package sshd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/authkeys"
)

// sourceAddress is the only critical option supported; x/crypto/ssh enforces it.
const sourceAddress = "source-address"

var errNotAuthorized = errors.New("key is not authorized")

// login is the result of authentication, carried in ssh.Permissions.ExtraData under the type itself.
type login struct {
	credential credential
	by         string // for logs
	who        string // for other users of a terminal
	limits     authkeys.Limits
}

// loginKey is the key of a login in ssh.Permissions.ExtraData.
type loginKey struct{}

// authenticate returns the PublicKeyCallback. It is also called for keys that the client may not have: it only reads.
//
// direct means that the connection came to the session's own address, and so from its owner's network: there the account's
// authorized_keys count as well, as with any sshd. Through the tunnel they do not: the gateway decides there.
func (s *Server) authenticate(direct bool) func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
	return func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		account, err := s.account(meta.User())
		if err != nil {
			return nil, err
		}
		permissions := &ssh.Permissions{}
		var found login
		if cert, ok := key.(*ssh.Certificate); ok {
			person, err := s.checkCertificate(meta.User(), cert)
			if err != nil {
				return nil, fmt.Errorf("certificate %q: %w", cert.KeyId, err)
			}
			issuer := credential{key: string(cert.SignatureKey.Marshal()), ca: true, person: person}
			found = login{credential: issuer, by: fmt.Sprintf("certificate %q", cert.KeyId)}
			found.who, _, _ = strings.Cut(cert.KeyId, "@") // the gateway's is USER@SESSION
			permissions.CriticalOptions = cert.CriticalOptions
		} else if meta.User() == watcher {
			return nil, errNotAuthorized
		} else {
			found = login{credential: credential{key: string(key.Marshal())}, by: ssh.FingerprintSHA256(key), who: account.Name}
			if direct && !s.policy.Load().holds(found.credential) {
				found.limits, err = authkeys.Find(account, key, addressOf(meta.RemoteAddr()), time.Now())
				found.credential.own = err == nil
			}
		}
		if !s.policy.Load().holds(found.credential) {
			return nil, errors.Join(errNotAuthorized, err)
		}
		if meta.User() == watcher {
			found.limits.NoForwarding = true
		}
		permissions.ExtraData = map[any]any{loginKey{}: found}
		return permissions, nil
	}
}

// addressOf returns the zero Addr if there is no address.
func addressOf(address net.Addr) netip.Addr {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// checkCertificate leaves the check of the CA to the policy. It returns the principal if that is a person's, who may log in
// as any user; other certificates are for one user of this session.
func (s *Server) checkCertificate(user string, cert *ssh.Certificate) (person string, err error) {
	if cert.CertType != ssh.UserCert {
		return "", errors.New("not a user certificate")
	}
	if len(cert.ValidPrincipals) == 0 { // the library would accept it for every user
		return "", errors.New("no principals")
	}
	principal := s.SessionUID + "/" + user
	if len(cert.ValidPrincipals) == 1 && s.policy.Load().people[cert.ValidPrincipals[0]] {
		person = cert.ValidPrincipals[0]
		principal = person
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}}
	return person, checker.CheckCert(principal, cert)
}
