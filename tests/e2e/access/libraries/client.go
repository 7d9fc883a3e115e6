// A client on golang.org/x/crypto/ssh, as programs in Go have one: a command with its exit code, bytes both ways, and
// files by sftp. Usage: client ADDRESS USER KEY HOST_CA FILE
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func main() {
	address, user, keyFile, authority, file := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	key, err := ssh.ParsePrivateKey(must(os.ReadFile(keyFile)))
	check(err)
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authority))
	check(err)
	client := must(ssh.Dial("tcp", address, &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.FixedHostKey(hostKey),
		Timeout:         20 * time.Second,
	}))
	defer client.Close()
	runsCommands(client)
	copiesFiles(client, file)
}

func runsCommands(client *ssh.Client) {
	var exit *ssh.ExitError
	if err := must(client.NewSession()).Run("exit 7"); !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		log.Fatalf("exit 7 ended with %v", err)
	}
	if err := must(client.NewSession()).Run("kill -TERM $$"); !errors.As(err, &exit) || exit.Signal() != "TERM" {
		log.Fatalf("a death by SIGTERM is %v", err)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	session := must(client.NewSession())
	session.Stdin = bytes.NewReader(sent)
	if !bytes.Equal(must(session.Output("cat")), sent) {
		log.Fatal("other bytes came back")
	}
}

func copiesFiles(client *ssh.Client, file string) {
	files := must(sftp.NewClient(client))
	defer files.Close()
	sent := must(os.ReadFile(file))
	out := must(files.Create("go-client"))
	must(out.Write(sent))
	check(out.Close())
	back := must(io.ReadAll(must(files.Open("go-client"))))
	check(files.Remove("go-client"))
	if sha256.Sum256(back) != sha256.Sum256(sent) {
		log.Fatal("another file came back")
	}
	fmt.Println("done")
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
