package promptcrypt

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/api/jsonscan"
	"cocoon/tests/golden"
)

type vectors struct {
	SenderSeed    string   `json:"sender_seed"`
	SenderKey     string   `json:"sender_public_key"`
	ReceiverSeed  string   `json:"receiver_seed"`
	ReceiverKey   string   `json:"receiver_public_key"`
	Nonce         string   `json:"encryption_nonce"`
	Shared        string   `json:"x25519_shared"`
	SecretC       string   `json:"secret_c"`
	SecretW       string   `json:"secret_w"`
	MustBeRefused []string `json:"must_be_refused"`
	Cases         []struct {
		Plaintext, Direction string
		Fill                 string `json:"prefix_fill_byte"`
		JSON                 string `json:"json_string"`
	}
}

func key(tb testing.TB, text string) [KeySize]byte {
	tb.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != KeySize {
		tb.Fatalf("%q is no key", text)
	}
	return [KeySize]byte(raw)
}

// fill is a source of one byte.
type fill byte

func (f fill) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

// TestVectors: both ends derive the published secrets, and the cipher gives the published strings both ways.
func TestVectors(t *testing.T) {
	var v vectors
	golden.JSON(t, "protocol/prompt_encryption_v1.json", &v)
	sender, receiver := key(t, v.SenderSeed), key(t, v.ReceiverSeed)
	if Public(sender) != key(t, v.SenderKey) || Public(receiver) != key(t, v.ReceiverKey) {
		t.Fatal("public keys differ")
	}
	shared, err := exchange(sender, Public(receiver))
	if err != nil || hex.EncodeToString(shared) != v.Shared {
		t.Fatalf("shared %x, %v", shared, err)
	}
	secrets := map[string]string{"c": v.SecretC, "w": v.SecretW}
	for _, c := range v.Cases {
		secret, err := Agree(sender, Public(receiver), v.Nonce, Direction(c.Direction[0]))
		other, otherErr := Agree(receiver, Public(sender), v.Nonce, Direction(c.Direction[0]))
		if err != nil || otherErr != nil || secret != other || secret != Secret(key(t, secrets[c.Direction])) {
			t.Fatalf("%s: secrets %x and %x, %v, %v", c.Direction, secret, other, err, otherErr)
		}
		sealed, err := secret.Seal([]byte(c.Plaintext), fill(0x55))
		if got := encrypted + hex.EncodeToString(sealed); err != nil || got != c.JSON {
			t.Errorf("%q %s: sealed %s, %v", c.Plaintext, c.Direction, got, err)
		}
		if got, err := secret.openString(c.JSON); err != nil || got != c.Plaintext {
			t.Errorf("%q %s: opened %q, %v", c.Plaintext, c.Direction, got, err)
		}
		for _, bad := range v.MustBeRefused {
			if got, err := secret.openString(bad); !errors.Is(err, ErrCiphertext) {
				t.Errorf("%q opened as %q, %v", bad, got, err)
			}
		}
		for i := range sealed {
			forged := bytes.Clone(sealed)
			forged[i] ^= 1
			if _, err := secret.Open(forged); !errors.Is(err, ErrCiphertext) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
	}
}

const request = `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"привет <b>"}],"temperature":0.5,"stream":true,"stop":["a",null,"b"]}`

func conversation(tb testing.TB) (client, worker [KeySize]byte) {
	tb.Helper()
	copy(client[:], "client seed client seed client s")
	copy(worker[:], "worker seed worker seed worker s")
	return client, worker
}

func marked(tb testing.TB, doc []byte) bool {
	tb.Helper()
	v, err := jsonscan.Check(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return Marked(v)
}

// TestRequestAndAnswer: what one end seals the other reads, nothing private stays readable, and the four members go.
func TestRequestAndAnswer(t *testing.T) {
	client, worker := conversation(t)
	sealed, mine, err := SealRequest([]byte(request), client, Public(worker), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !marked(t, sealed) || marked(t, []byte(request)) {
		t.Error("the mark is wrong")
	}
	for _, private := range []string{"привет", `"user"`, `"a"`} {
		if bytes.Contains(sealed, []byte(private)) {
			t.Errorf("%s is readable", private)
		}
	}
	for _, public := range []string{`"model":"m"`, `"max_tokens":5`, `"temperature":0.5`, `"stream":true`, `null`} {
		if !bytes.Contains(sealed, []byte(public)) {
			t.Errorf("%s is gone", public)
		}
	}
	opened, theirs, err := OpenRequest(sealed, worker)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decoded(t, []byte(request)), decoded(t, opened)); diff != "" {
		t.Errorf("request (-sent +read):\n%s", diff)
	}
	answer := []byte(`{"choices":[{"delta":{"content":"hi"}}],"usage":{"total_tokens":3}}`)
	back, err := theirs.SealAnswer(answer, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	again, err := theirs.SealAnswer(answer, rand.Reader)
	if err != nil || bytes.Equal(back, again) {
		t.Errorf("two answers share a nonce, %v", err)
	}
	read, err := mine.OpenAnswer(back)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decoded(t, answer), decoded(t, read)); diff != "" {
		t.Errorf("answer (-sent +read):\n%s", diff)
	}
	if _, err := mine.OpenAnswer(sealed); err == nil {
		t.Error("a request was taken for an answer")
	}
}

func decoded(t *testing.T, doc []byte) (out any) {
	t.Helper()
	if err := json.Unmarshal(doc, &out); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return out
}

// TestRefusals: a wrong key is ErrKey, a wrong string ErrCiphertext; a short string is an error and no crash.
func TestRefusals(t *testing.T) {
	client, worker := conversation(t)
	sealed, _, err := SealRequest([]byte(`{"model":"m","prompt":"x"}`), client, Public(worker), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, with string) []byte { return []byte(strings.Replace(string(sealed), old, with, 1)) }
	sender := hex.EncodeToString(slice(Public(client)))
	for name, tc := range map[string]struct {
		doc  []byte
		seed [KeySize]byte
		want error
	}{
		"another worker's key":   {sealed, client, ErrKey},
		"no sender":              {replace(sender, ""), worker, ErrKey},
		"a sender of low order":  {replace(sender, "01"+strings.Repeat("0", 62)), worker, ErrKey},
		"another sender":         {replace(sender, hex.EncodeToString(slice(Public([32]byte{9})))), worker, ErrCiphertext},
		"another version":        {replace(`"v1"`, `"v2"`), worker, ErrCiphertext},
		"a short string":         {replace(`"prompt":"ENC_`, `"suffix":"ab","prompt":"ENC_`), worker, ErrCiphertext},
		"a string in the clear":  {replace(`"prompt":"ENC_`, `"suffix":"clear text","prompt":"ENC_`), worker, ErrCiphertext},
		"hex with a foreign end": {replace(`"prompt":"ENC_`, `"prompt":"ENC_zz`), worker, ErrCiphertext},
	} {
		if _, _, err := OpenRequest(tc.doc, tc.seed); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plainMarked := replace(`"prompt":"ENC_`, `"suffix":"DEC_clear","prompt":"ENC_`)
	if out, _, err := OpenRequest(plainMarked, worker); err != nil || !bytes.Contains(out, []byte(`"suffix":"clear"`)) {
		t.Errorf("DEC_: %s, %v", out, err)
	}
	upper := replace(sender, strings.ToUpper(sender))
	if _, _, err := OpenRequest(upper, worker); err != nil {
		t.Errorf("upper-case hex: %v", err)
	}
}

func slice(k [KeySize]byte) []byte { return k[:] }

// TestPrefixesOfOthers: any from 16 bytes up to the whole is one (protocol.md section 9); ours are the shortest that do.
func TestPrefixesOfOthers(t *testing.T) {
	var secret Secret
	for prefix, good := range map[int]bool{0: false, 15: false, 16: true, 31: true, 48: true, 64: true, 65: false, 255: false} {
		x := bytes.Repeat([]byte("x"), 64)
		x[0] = byte(prefix)
		enc, mac := secret.keys()
		msg := id(mac, x)
		b, iv, err := block(enc, msg)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(x)
		cipher.NewCBCEncrypter(b, iv).CryptBlocks(x, x)
		got, err := secret.Open(append(msg, x...))
		if good != (err == nil) || good && !bytes.Equal(got, want[prefix:]) {
			t.Errorf("a prefix of %d bytes: %q, %v", prefix, got, err)
		}
	}
}

// FuzzOpenRequest: nothing crashes, and what opens is a document without the members of the encryption.
func FuzzOpenRequest(f *testing.F) {
	client, worker := conversation(f)
	for _, doc := range []string{request, `{}`, `{"prompt":""}`, `{"a":[["b"]],"model":{"x":"y"}}`, `{"k":"` + strings.Repeat("x", 100) + `"}`} {
		sealed, _, err := SealRequest([]byte(doc), client, Public(worker), fill(7))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
	}
	f.Add([]byte(`{"is_encrypted":"v1","sender_public_key":"x"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		out, _, err := OpenRequest(doc, worker)
		if err == nil && marked(t, out) {
			t.Fatalf("%s still marked", out)
		}
	})
}
