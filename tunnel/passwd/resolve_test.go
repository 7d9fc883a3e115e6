package passwd

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestResolveReadsAUserAsADockerfileNamesIt(t *testing.T) {
	root := t.TempDir()
	check(t, os.Mkdir(filepath.Join(root, "etc"), 0o755))
	check(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n7:x:9:9::/nine:\n"), 0o600))
	check(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("video:x:44:app\nstaff:x:50:other\n"), 0o600))
	database := Database{Root: root}
	app := Account{Name: "app", UID: 1000, GID: 1001, Groups: []uint32{44}, Home: "/srv", Shell: "/bin/sh"}
	with := func(gid uint32) Account {
		account := app
		account.GID, account.Groups = gid, nil
		return account
	}
	for spec, want := range map[string]Account{
		"app":       app,
		"1000":      app,
		"app:staff": with(50),
		"1000:7777": with(7777),
		"app:":      app,
		"4242":      {UID: 4242, Home: "/"},
		"4242:50":   {UID: 4242, GID: 50, Home: "/"},
		"7":         {UID: 7, Home: "/"}, // a number is never a name
		"":          {Name: "root", Home: "/root", Shell: "/bin/sh"},
		":44":       {Name: "root", GID: 44, Home: "/root", Shell: "/bin/sh"},
	} {
		if got, err := database.Resolve(spec); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v %v", spec, got, err)
		}
	}
	for _, spec := range []string{"missing", "app:none", "-1", "4294967295"} {
		if got, err := database.Resolve(spec); err == nil {
			t.Errorf("%q: %+v", spec, got)
		}
	}
}

func FuzzResolve(f *testing.F) {
	root := f.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Add("app:staff", "app:x:1000:1001::/srv:/bin/sh\n", "staff:x:50:app\n")
	f.Add("1000", "app:x:1000:::", ":::")
	f.Fuzz(func(t *testing.T, spec, passwd, group string) {
		check(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(passwd), 0o600))
		check(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte(group), 0o600))
		account, err := Database{Root: root}.Resolve(spec)
		if err == nil && (!filepath.IsAbs(account.Home) || account.UID == 1<<32-1 || account.GID == 1<<32-1) {
			t.Fatalf("%q: %+v", spec, account)
		}
	})
}
