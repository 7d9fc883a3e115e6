package sshd

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"netvps/tunnel/rundir"
)

const hostKeyPrefix = "host_ed25519_"

// HostKey loads the session's host key from the first folder that has it, or creates one in the first folder that can
// hold it. The first is in the container's own file system, so that the key is part of snapshots and lives as long as the
// session; a fork has another uid, and so another key.
func HostKey(sessionUID string, folders ...string) (ssh.Signer, error) {
	name := hostKeyPrefix + sessionUID
	for _, folder := range folders {
		signer, err := loadHostKey(filepath.Join(folder, name))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return signer, err
		}
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	var failures error
	for _, folder := range folders {
		if err := storeHostKey(folder, name, pem.EncodeToMemory(block)); err != nil {
			failures = errors.Join(failures, err)
			continue
		}
		return ssh.NewSignerFromSigner(private)
	}
	return nil, fmt.Errorf("no place for the host key: %w", failures)
}

func loadHostKey(path string) (ssh.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return signer, nil
}

func storeHostKey(folder, name string, key []byte) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := rundir.WriteFile(filepath.Join(folder, name), key); err != nil {
		return err
	}
	// Keys of the session that this one was forked from: a fork must not be able to pass as its parent.
	others, err := filepath.Glob(filepath.Join(folder, hostKeyPrefix+"*"))
	for _, other := range others {
		if filepath.Base(other) != name {
			err = errors.Join(err, os.Remove(other))
		}
	}
	return err
}
