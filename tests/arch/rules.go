package arch

import "strings"

// edges is the import matrix of rooms: from -> the rooms it may import besides itself (layout, section 2).
func edges() map[string][]string {
	return map[string][]string{
		"contracts": {},
		"measure":   {},
		"image":     {"measure"},
		"guest":     {"contracts", "measure"},
		"host":      {"contracts", "measure", "image"},
		"cmd":       {"contracts", "measure", "image", "guest", "host"},
		"tests":     {"contracts", "measure", "image", "guest", "host", "cmd"},
	}
}

// ban forbids imports by prefix to the packages that match.
type ban struct {
	name    string
	applies func(pkg string) bool
	denied  []string // exact path, or prefix when it ends in "/"
	tests   bool     // also in _test.go files
	reason  string
}

func under(prefixes ...string) func(string) bool {
	return func(pkg string) bool {
		for _, p := range prefixes {
			if pkg == Module+"/"+p || strings.HasPrefix(pkg, Module+"/"+p+"/") {
				return true
			}
		}
		return false
	}
}

func except(yes, no func(string) bool) func(string) bool {
	return func(pkg string) bool { return yes(pkg) && !no(pkg) }
}

func everywhere(string) bool { return true }

// bans are the extra rules below the matrix in layout section 2.
func bans() []ban {
	return []ban{
		{
			"measure is pure", except(under("measure"), under("measure/ratls", "measure/measuretest")),
			[]string{"net", "net/http", "os/exec"},
			false, "measure takes bytes and returns values",
		},
		{
			"NVML in one binary", except(everywhere, under("cmd/gpuattest")),
			[]string{"github.com/NVIDIA/go-nvml/"},
			true, "cgo stays in cmd/gpuattest",
		},
		{
			"chain in one place", except(everywhere, under("contracts/chain", "tests")),
			[]string{"github.com/xssnick/tonutils-go/liteclient", "github.com/xssnick/tonutils-go/ton"},
			true, "use contracts/chain",
		},
		{
			"small guest", under("guest", "cmd/init"),
			[]string{"github.com/spf13/cobra", "go.opentelemetry.io/"},
			true, "the guest is the trusted computing base",
		},
		{
			"software TDX is for tests", except(everywhere, under("measure/measuretest", "host/localnet", "tests")),
			[]string{Module + "/measure/measuretest"},
			false, "production code never links software TDX",
		},
		{
			"printers stay in cmd", except(everywhere, under("cmd")),
			[]string{Module + "/cmd/internal/"},
			false, "cmd/internal is for commands",
		},
	}
}

// ceilings are the most third-party modules a binary may link directly or indirectly (layout, section 4).
func ceilings() map[string]int {
	return map[string]int{"cocoon": 90, "init": 40, "measure": 15, "gpuattest": 1}
}

const (
	maxFileLines     = 500
	maxFunctionLines = 70
)

// longFunctions are the data tables that may exceed maxFunctionLines, by file and function, with the reason.
func longFunctions() map[string]string {
	return map[string]string{}
}

// clockOwners may call time.Now outside cmd; everything else takes a clock (layout, section 2).
func clockOwners() map[string]string {
	return map[string]string{
		"guest/clock": "owns the guest's clock",
	}
}
