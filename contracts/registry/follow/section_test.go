package follow

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/registry"
)

const (
	rawRoot  = "0:a7b3b6d84a9d228815bd2d69c29b39b0a3184a2ac257d5dc0e4035723813231b"
	friendly = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k" // contracts.md section 1.2
)

func TestASectionIsReadWhole(t *testing.T) {
	s, err := ParseSection([]byte(`{"address":"` + friendly + `","network":"testnet","config":"ton.json","every":"10s","max_age":"1h",` +
		`"state_dir":"/var","one_liteserver":true,"trusted_block":{"seqno":7,"root_hash":"` + strings.Repeat("ab", 32) + `","file_hash":"` + strings.Repeat("cd", 32) + `"}}`))
	check(t, err)
	if s.Network != registry.Testnet || s.Config != "ton.json" || s.Every != 10*time.Second || s.MaxAge != time.Hour || s.Dir != "/var" || !s.OneServer ||
		s.Trusted == nil || s.Trusted.Seqno != 7 || s.Trusted.FileHash[0] != 0xcd {
		t.Errorf("%+v", s)
	}
	least, err := ParseSection([]byte(`{"address":"` + rawRoot + `","network":"mainnet","config":"c"}`))
	check(t, err)
	if least.Every != registry.DefaultEvery || least.MaxAge != registry.MaxAge || least.Trusted != nil {
		t.Errorf("%+v", least)
	}
}

func TestASectionThatIsWrongSaysWhere(t *testing.T) {
	with := func(more string) string {
		return fmt.Sprintf(`{"address":%q,"network":"testnet","config":"c"%s}`, friendly, more)
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":        {`{}`, "root.address"},
		"several":        {`{}`, "root.network"},
		"no file":        {`{"address":"` + friendly + `","network":"testnet"}`, "root.config"},
		"address":        {`{"address":"EQ","network":"testnet","config":"c"}`, `root.address: "EQ"`},
		"network":        {`{"address":"` + friendly + `","network":"moon","config":"c"}`, "root.network"},
		"too old":        {with(`,"max_age":"3h"`), "root.max_age"},
		"too soon":       {with(`,"every":"1ms"`), "root.every"},
		"not a time":     {with(`,"every":30`), "every"},
		"negative":       {with(`,"every":"-1s"`), "root.every"},
		"age below pace": {with(`,"every":"1m","max_age":"30s"`), "must be above every"},
		"unknown key":    {with(`,"liteservers":"x"`), "liteservers"},
		"twice":          {with(`,"config":"d"`), "stands twice"},
		"trailing":       {with("") + "{}", "after the object"},
		"mainnet alone":  {strings.Replace(with(`,"one_liteserver":true`), "testnet", "mainnet", 1), "one_liteserver"},
		"long":           {`{"config":"` + strings.Repeat("x", maxSection) + `"}`, "at most"},
	} {
		if s, err := ParseSection([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v, want %q", name, s, err, c.says)
		}
	}
}

func FuzzSection(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"address":"` + friendly + `","network":"testnet","config":"c"}`, `{"address":"` + rawRoot + `","network":"-3","config":"c","every":"1s"}`,
		`{"trusted_block":{"seqno":-1}}`, `{"max_age":"9999999999h"}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSection(data)
		if err == nil && (s.Address == nil || s.Config == "" || s.MaxAge > registry.MaxAge || s.Every <= 0) {
			t.Errorf("%s: accepted as %+v", data, s)
		}
	})
}
