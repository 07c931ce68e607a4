package fabric

import "time"

// ConsumeToken takes the token with this use and secret out of the database and returns it. Done inside the change that the token pays for,
// it makes the token good for exactly one of them. Its errors are of code CodeForbidden: unknown, used and revoked tokens are not told apart.
func ConsumeToken(tx *Tx, use, secret string, now time.Time) (*Token, error) {
	hash := HashSecret(secret)
	for _, t := range tx.Snapshot().Tokens() {
		if t.Use != use || t.Hash != hash {
			continue
		}
		if !now.Before(t.Expires) {
			return nil, Errorf(CodeForbidden, "token-expired", "the token for %q expired at %s, and here it is %s", t.For,
				t.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)).WithFix("ask for a new token")
		}
		if err := tx.Delete(KeyOf(t)); err != nil {
			return nil, err
		}
		return Clone(t), nil
	}
	return nil, Errorf(CodeForbidden, "bad-token", "the token is unknown: it was used already, revoked, or is of another cluster").WithFix("ask for a new token")
}
