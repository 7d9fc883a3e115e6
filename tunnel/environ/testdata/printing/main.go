// Command printing shows what the Go runtime and package environ know of the environment.
package main

import (
	"fmt"
	"os"
	"strings"

	"netvps/tunnel/environ"
)

func main() {
	fmt.Println("runtime:", strings.Join(os.Environ(), " "))
	fmt.Println("arguments:", strings.Join(os.Args[1:], "|"), "page size:", os.Getpagesize())
	fmt.Println("environ:", strings.Join(environ.All(), "|"))
}
