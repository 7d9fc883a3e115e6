package sshd

import (
	"reflect"
	"testing"
)

func TestSplitQuotedIsTheInverseOfShlexJoin(t *testing.T) {
	for line, want := range map[string][]string{
		"ls":                                   {"ls"},
		"/echo 'a b' ''":                       {"/echo", "a b", ""},
		`sh -c 'echo "$HOME"; exit 3'`:         {"sh", "-c", `echo "$HOME"; exit 3`},
		`echo 'it'"'"'s' 'ä' 'x` + "\n" + `y'`: {"echo", "it's", "ä", "x\ny"},
		"a=b x@y:1,2+3%-_.":                    {"a=b", "x@y:1,2+3%-_."},
	} {
		if got, ok := splitQuoted(line); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "''", "echo $HOME", "a; b", "'open", `echo "a"`, "a\tb", "echo *", "a\\b", "'\x00'"} {
		if got, ok := splitQuoted(line); ok {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func FuzzSplitQuoted(f *testing.F) {
	f.Add("ls 'a b'")
	f.Add(`'it'"'"'s'`)
	f.Fuzz(func(t *testing.T, line string) {
		if argv, ok := splitQuoted(line); ok && (len(argv) == 0 || argv[0] == "") {
			t.Errorf("%q: %q", line, argv)
		}
	})
}
