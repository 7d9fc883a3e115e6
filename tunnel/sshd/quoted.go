package sshd

import "strings"

// unquotedCharacters are those that Python's shlex.join does not quote, besides letters and digits.
const unquotedCharacters = "@%+=:,./-_"

// splitQuoted reverses Python's shlex.join; false for anything that a shell might expand.
func splitQuoted(line string) (argv []string, ok bool) {
	var word strings.Builder
	var quote byte // 0 outside of quotes
	for _, c := range []byte(line) {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '"' && c != '\'': // shlex.join puts nothing else between double quotes
			return nil, false
		case quote != 0, isUnquoted(c):
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote = c
		case c == ' ':
			argv = append(argv, word.String())
			word.Reset()
		default:
			return nil, false
		}
	}
	argv = append(argv, word.String())
	return argv, quote == 0 && argv[0] != "" && !strings.Contains(line, "\x00")
}

func isUnquoted(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(unquotedCharacters, c) >= 0
}
