package environ_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"netvps/tunnel/environ"
)

func build(t *testing.T) string {
	program := filepath.Join(t.TempDir(), "printing")
	cmd := exec.Command("go", "build", "-ldflags", environ.LinkerFlag, "-o", program, "./testdata/printing")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestTheRuntimeKnowsNothingOfTheEnvironment(t *testing.T) {
	program := build(t)
	many := make([]string, 0, 3000)
	for n := range cap(many) {
		many = append(many, "N"+strconv.Itoa(n)+"="+strings.Repeat("x", 100))
	}
	for name, env := range map[string][]string{
		"empty": {},
		"one":   {"A=1"},
		// Each of these ends a Go program before its first line.
		"malformed": {"GOMEMLIMIT=much", "GODEBUG=fips140=nonsense", "=", "", "A"},
		"many":      many,
	} {
		for _, args := range [][]string{nil, {"a", "b c", ""}} {
			cmd := exec.Command(program, args...)
			cmd.Env = env
			out, err := cmd.CombinedOutput()
			// os/exec leaves out what is no variable.
			want := slices.DeleteFunc(slices.Clone(env), func(pair string) bool { return pair == "" })
			lines := strings.Split(string(out), "\n")
			if err != nil || lines[0] != "runtime: " ||
				lines[1] != "arguments: "+strings.Join(args, "|")+" page size: "+strconv.Itoa(os.Getpagesize()) ||
				!sameVariables(strings.Split(strings.TrimPrefix(lines[2], "environ: "), "|"), want) {
				t.Errorf("%s %q: %v\n%s", name, args, err, out)
			}
		}
	}
}

func sameVariables(got, want []string) bool {
	got = slices.DeleteFunc(got, func(pair string) bool { return pair == "" })
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}

func TestNothingElseAsksTheRuntimeForTheEnvironment(t *testing.T) {
	asks := regexp.MustCompile(`os\.(Getenv|LookupEnv|Environ|ExpandEnv)\(|exec\.LookPath\(|os\.UserHomeDir\(`)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../environ/") {
			return err
		}
		text, err := os.ReadFile(path)
		if found := asks.Find(text); found != nil {
			t.Errorf("%s: %s is empty in the agent: use package environ", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAProgramWithAnOrdinaryEntryPointHasItsEnvironment(t *testing.T) {
	t.Setenv("NETVPS_TEST", "first")
	if environ.Get("NETVPS_TEST") != "first" || environ.Get("NETVPS_TES") != "" {
		t.Fatal(environ.All())
	}
	if environ.Value([]string{"A=1", "B=2", "A=3"}, "A") != "3" {
		t.Fatal("the last one counts")
	}
}
