// Package rundir is the session's runtime folder, which the runner writes and the agent reads, and the agent's own
// folder, a small tmpfs of the container.
package rundir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"

	"google.golang.org/protobuf/proto"

	"netvps/tunnel/api"
)

// Names within the folder.
const (
	BootFile     = "boot.json"
	IdentityFile = "identity.pem"
	TunnelSocket = "tunnel.sock"
	AddressFile  = "address.json" // see package address
)

// configFile is the name of the last config in the agent's own folder.
const configFile = "config.pb"

// maxBoot bounds what is read of boot.json, in bytes.
const maxBoot = 64 << 10

// Dir is the path of a runtime folder, or of the agent's own folder.
type Dir string

// Boot is the runner's information for the agent: its identity, and which CA to trust.
type Boot struct {
	SessionUID    string `json:"session_uid"`
	Epoch         int64  `json:"epoch"`
	CACertificate string `json:"ca_certificate"`
	ServerName    string `json:"server_name"`
}

// sessionUID keeps a uid usable as part of a file name and of a certificate's principal.
var sessionUID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

// Path returns the full path of a name in the folder.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Boot reads boot.json. The error is fs.ErrNotExist until the runner has written it.
func (d Dir) Boot() (Boot, error) {
	file, err := os.Open(d.Path(BootFile))
	if err != nil {
		return Boot{}, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxBoot))
	if err != nil {
		return Boot{}, err
	}
	boot, err := parseBoot(data)
	if err != nil {
		return Boot{}, fmt.Errorf("%s: %w", d.Path(BootFile), err)
	}
	return boot, nil
}

func parseBoot(data []byte) (boot Boot, err error) {
	if err := json.Unmarshal(data, &boot); err != nil {
		return boot, err
	}
	if !sessionUID.MatchString(boot.SessionUID) {
		return boot, fmt.Errorf("bad session_uid %q", boot.SessionUID)
	}
	if boot.CACertificate == "" || boot.ServerName == "" {
		return boot, errors.New("ca_certificate and server_name must be set")
	}
	return boot, nil
}

// Dial connects to one of the runner's sockets. The path is resolved each time: a restarted runner creates new ones.
func (d Dir) Dial(ctx context.Context, socket string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", d.Path(socket))
}

// Config reads the last config saved; nil if there is none.
func (d Dir) Config() (*api.AgentConfig, error) {
	data, err := os.ReadFile(d.Path(configFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	config := &api.AgentConfig{}
	if err := proto.Unmarshal(data, config); err != nil {
		return nil, fmt.Errorf("%s: %w", d.Path(configFile), err)
	}
	return config, nil
}

// SaveConfig stores the config for the agent's next start.
func (d Dir) SaveConfig(config *api.AgentConfig) error {
	data, err := proto.Marshal(config)
	if err != nil {
		return err
	}
	return WriteFile(d.Path(configFile), data)
}

// WriteFile replaces a file atomically, readable by the owner only.
func WriteFile(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // CreateTemp makes it 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
