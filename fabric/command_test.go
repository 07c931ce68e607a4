package fabric_test

import (
	"slices"
	"testing"

	"netfabric/fabric"
)

func TestSplitCommand(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                    nil,
		"  \t ":                               nil,
		"/bin/check":                          {"/bin/check"},
		" /bin/check  -v  3 ":                 {"/bin/check", "-v", "3"},
		`sh -c 'a && b | c > "$d"'`:           {"sh", "-c", `a && b | c > "$d"`},
		`a "b c" 'd e'`:                       {"a", "b c", "d e"},
		`a b" "c' 'd`:                         {"a", "b c d"},
		`a '' ""`:                             {"a", "", ""},
		`a\ b \'c\\`:                          {"a b", `'c\`},
		`"a\"b\\c\d" 'a\b'`:                   {`a"b\c\d`, `a\b`},
		"pg_isready -h ${HOME} *; rm -rf / &": {"pg_isready", "-h", "${HOME}", "*;", "rm", "-rf", "/", "&"},
	} {
		if got, err := fabric.SplitCommand(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`a 'b`, `a "b`, `a "b'`, `a b\`, `"a\`} {
		if got, err := fabric.SplitCommand(line); err == nil {
			t.Errorf("%s: %q", line, got)
		}
	}
}
