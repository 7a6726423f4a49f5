package gateway

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"cocoon/contracts/promptcrypt"
)

// sealed is a chat request, with more members, that is encrypted to a worker's key.
func sealed(t *testing.T, key [32]byte, more string) string {
	t.Helper()
	body, _, err := promptcrypt.SealRequest([]byte(chatBody(more)), [32]byte{1}, key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestAnEncryptedRequestNamesItsKeyToTheProxy: the app's bytes stay as they are, and the key of its receiver goes beside
// them; a key that is no longer held is asked for once more, and then the app is told.
func TestAnEncryptedRequestNamesItsKeyToTheProxy(t *testing.T) {
	key := promptcrypt.Public([32]byte{2})
	unknown := func(_ *scripted, q *query) { q.fail(602, "unknown public key") }
	for name, tc := range map[string]struct {
		version int32
		serve   func(n int) func(*scripted, *query)
		more    string
		status  int
		code    string
		asked   int
	}{
		"held":                  {5, func(int) func(*scripted, *query) { return good }, "", 200, "", 1},
		"with tools":            {5, func(int) func(*scripted, *query) { return good }, `,"tools":[{"type":"function","function":{"name":"f"}}],"reasoning_effort":"low","tool_choice":"auto"`, 200, "", 1},
		"by a reference proxy":  {4, func(int) func(*scripted, *query) { return good }, "", 200, "", 1},
		"held after a refresh":  {5, func(n int) func(*scripted, *query) { return [...]func(*scripted, *query){unknown, good}[min(n, 1)] }, "", 200, "", 2},
		"not held":              {5, func(int) func(*scripted, *query) { return unknown }, "", 503, "encryption_key_unknown", 2},
		"too old a proxy":       {2, func(int) func(*scripted, *query) { return good }, "", 400, "unsupported_parameter", 0},
		"streaming at v4":       {4, func(int) func(*scripted, *query) { return good }, `,"stream":true`, 400, "unsupported_parameter", 0},
		"an encrypted pin":      {5, func(int) func(*scripted, *query) { return good }, `,"provider":{"aci_session":["x"]}`, 400, "invalid_value", 0},
		"what is never allowed": {5, func(int) func(*scripted, *query) { return good }, `,"chat_template":"x"`, 400, "unsupported_parameter", 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := -1
			p := newScripted("p1", tc.version, func(p *scripted, q *query) { n++; tc.serve(n)(p, q) })
			w := start(t, setup{}, p)
			body := sealed(t, key, tc.more)
			r := w.do("POST", "/v1/chat/completions", body)
			if r.status != tc.status || tc.code != "" && r.code(t) != tc.code || len(p.requests()) != tc.asked {
				t.Fatalf("got %d %s, asked %d times", r.status, r.body, len(p.requests()))
			}
			for _, q := range p.requests() {
				if q.PublicKey == nil || *q.PublicKey != key || !bytes.Contains(q.http.Payload, []byte(`"is_encrypted":"v1"`)) {
					t.Errorf("public_key %x with %s", q.PublicKey, q.http.Payload)
				}
				if tc.version == 5 && string(q.http.Payload) != body {
					t.Errorf("the proxy got other bytes: %s", q.http.Payload)
				}
			}
		})
	}
	p := newScripted("p1", 5, good)
	w := start(t, setup{}, p)
	for form, ok := range map[string]bool{base64.StdEncoding.EncodeToString(key[:]): true, strings.ToUpper(hex.EncodeToString(key[:])): true, "short": false} {
		r := w.do("POST", "/v1/chat/completions", strings.Replace(sealed(t, key, ""), hex.EncodeToString(key[:]), form, 1))
		if (r.status == 200) != ok {
			t.Errorf("%s: %d %s", form, r.status, r.body)
		}
	}
}
