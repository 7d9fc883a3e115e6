package passwd

import (
	"fmt"
	"strings"
)

// Resolve finds the account of "USER[:GROUP]" as in a Dockerfile: each is a name of the image or a number, which need not
// be in passwd or group. With a GROUP there are no supplementary groups. An empty USER is root.
func (d Database) Resolve(spec string) (Account, error) {
	user, group, _ := strings.Cut(spec, ":")
	account, err := d.resolveUser(user)
	if err != nil || group == "" {
		return account, err
	}
	account.Groups = nil
	account.GID, err = d.resolveGroup(group)
	return account, err
}

func (d Database) resolveUser(user string) (Account, error) {
	if user == "" {
		user = "root"
	}
	uid, err := parseID(user)
	if err != nil {
		return d.Lookup(user)
	}
	account, found := Account{UID: uid, Home: "/"}, false
	err = d.lines("passwd", func(line string) {
		if parsed, ok := parseAccount(line); ok && !found && parsed.UID == uid {
			account, found = parsed, true
		}
	})
	if err != nil || !found {
		return account, err
	}
	account.Groups, err = d.groups(account)
	return account, err
}

func (d Database) resolveGroup(group string) (uint32, error) {
	gid, err := parseID(group)
	if err == nil {
		return gid, nil
	}
	found := false
	err = d.lines("group", func(line string) {
		if name, parsed, _, ok := parseGroup(line); ok && !found && name == group {
			gid, found = parsed, true
		}
	})
	if err == nil && !found {
		err = fmt.Errorf("no group %q in %s", group, d.path("group"))
	}
	return gid, err
}
