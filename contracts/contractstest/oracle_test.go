package contractstest_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/contractstest"
	"cocoon/tests/golden"
)

// repeated is a transaction as oracle.mjs reads it.
type repeated struct {
	Account     string `json:"account"`
	Message     string `json:"message"`
	LT          uint64 `json:"lt"`
	Now         uint32 `json:"now"`
	Transaction string `json:"transaction"`
	State       string `json:"state"`
}

// TestIndependentExecutor: what the executor of these tests makes of random sequences, the C++ emulator of @ton/sandbox
// makes too: equal transaction hashes and account hashes, so equal gas, fees, messages and state.
func TestIndependentExecutor(t *testing.T) {
	if !longRun() {
		t.Skip("installs @ton/sandbox by npm and runs for half a minute: set COCOON_TEST=chain")
	}
	modules := installOracle(t)
	config, err := cell.FromBOC(golden.Vector(t, "contracts/config.boc.gz")) // the emulator needs more than ours has
	if err != nil {
		t.Fatal(err)
	}
	var input struct {
		Config string       `json:"config"`
		Worlds [][]repeated `json:"worlds"`
	}
	input.Config = base64.StdEncoding.EncodeToString(config.ToBOC())
	total := 0
	for seed := range uint64(40) {
		rows := recordSequence(t, config, seed)
		input.Worlds = append(input.Worlds, rows)
		total += len(rows)
	}
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "recorded.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(golden.Root(t), "contracts", "contractstest", "oracle", "oracle.mjs")
	out, err := exec.CommandContext(t.Context(), "node", script, modules, file).Output()
	if err != nil {
		t.Fatalf("running the other executor: %v\n%s", err, out)
	}
	var result struct {
		Equal     int
		Different []json.RawMessage
	}
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatal(err)
	}
	if result.Equal != total || len(result.Different) > 0 {
		t.Errorf("%d of %d transactions are equal; first differences: %s", result.Equal, total, result.Different)
	}
	t.Logf("%d transactions are equal", result.Equal)
}

// recordSequence runs a random sequence on a fresh world and keeps every executed transaction.
func recordSequence(t *testing.T, config *cell.Cell, seed uint64) []repeated {
	t.Helper()
	var rows []repeated
	c, err := contractstest.NewWith(config)
	if err != nil {
		t.Fatal(err)
	}
	c.Observe = func(e contractstest.Executed) {
		rows = append(rows, repeated{
			e.Account.StringRaw(), base64.StdEncoding.EncodeToString(e.Message.ToBOC()), e.LT, e.Now,
			hex.EncodeToString(e.TransactionHash[:]), hex.EncodeToString(e.AccountHash[:]),
		})
	}
	if err := runSequence(fillTemplate(play{newWorldOn(t, c, ourParams()), t}), seed); err != nil {
		t.Fatal(err)
	}
	return rows
}

func installOracle(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("needs a cache folder: %v", err)
	}
	dir := filepath.Join(cache, "cocoon", "sandbox-0.41.0")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@ton", "sandbox", "package.json")); err == nil {
		return dir
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(golden.Root(t), "contracts", "contractstest", "oracle", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("installing the other executor: %v\n%s", err, out)
	}
	return dir
}
