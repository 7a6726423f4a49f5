package publish

import (
	"fmt"
	"strings"
	"testing"

	"cocoon/contracts/registry"
)

func TestKeysAreReadAndNeverShown(t *testing.T) {
	words := NewMnemonic()
	a, err := ParseSigner([]byte(words))
	if err != nil {
		t.Fatal(err)
	}
	b := must[*Signer](t)(ParseSigner([]byte("\n " + strings.ReplaceAll(words, " ", "\n") + "\n")))
	if a.String() != b.String() {
		t.Error("white space changes the key")
	}
	hex := seedOf("canary-key")
	s := must[*Signer](t)(ParseSigner([]byte(hex)))
	shown := fmt.Sprintf("%v %+v %#v %s", s, s, s, s)
	if strings.Contains(shown, hex[44:]) || strings.Contains(shown, fmt.Sprintf("%v", s.key.Seed()[28:])[1:]) {
		t.Errorf("printing shows the key: %s", shown)
	}
}

func TestBadKeysAreRefusedWithoutQuotingThem(t *testing.T) {
	words := strings.Fields(NewMnemonic())
	swapped := append([]string{"zzzcanary"}, words[1:]...)
	for name, text := range map[string]string{
		"empty": "", "short": "zzzcanary", "twelve": strings.Repeat("zzzcanary ", 12), "misspelt": strings.Join(swapped, " "),
		"long seed": strings.Repeat("ab", 33),
	} {
		_, err := ParseSigner([]byte(text))
		if err == nil || strings.Contains(err.Error(), "zzzcanary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPersonsWalletsDifferByNetworkAndKind(t *testing.T) {
	s := signerOf(t, "owner")
	seen := map[string]bool{}
	for _, id := range []int32{-239, -3, -217} {
		seen[must[*Wallet](t)(NewWallet(V5R1, s, registry.Network(id))).Address.String()] = true
		seen[must[*Wallet](t)(NewWallet(V4R2, s, registry.Network(id))).Address.String()] = true
	}
	if len(seen) != 4 { // three v5, and one v4 that is the same everywhere
		t.Errorf("%d addresses", len(seen))
	}
	if _, err := NewWallet(Cocoon, s, -239); err == nil {
		t.Error("a machine's wallet without an owner")
	}
	if _, err := ParseKind("cocoon"); err == nil {
		t.Error("a machine's wallet counts as a person's")
	}
}
