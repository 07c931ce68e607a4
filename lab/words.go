package lab

import (
	"errors"
	"strings"
)

var (
	errEmptyCommand = errors.New("it is empty")
	errOpenQuote    = errors.New("a quote is not closed")
	errOpenEscape   = errors.New("it ends in a backslash")
)

// splitWords splits a command line into words like a shell does, with '…', "…" and \, but expands nothing: containerlab
// runs exec and cmd without a shell.
func splitWords(line string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  rune
		escape bool
	)
	for _, r := range line {
		switch {
		case escape:
			// Inside double quotes a backslash only escapes what would be special there (POSIX shell, 2.2.3).
			if quote == '"' && !strings.ContainsRune("\\\"$`", r) {
				word.WriteRune('\\')
			}
			word.WriteRune(r)
			escape = false
		case r == '\\' && quote != '\'':
			escape, inWord = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errOpenQuote
	}
	if escape {
		return nil, errOpenEscape
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
