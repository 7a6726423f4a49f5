package router

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"cocoon/contracts/wire"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/pow"
)

// Bounds of a command line.
const (
	maxArguments = 4096
	maxArgument  = 1 << 20
)

// ErrExample is what Parse returns for -g; flag.ErrHelp for -h.
var ErrExample = errors.New("an example configuration is asked for")

// cli is a command line as it was written; how it joins the file is decided when all of it was read.
type cli struct {
	file, certBase string
	policies       []PolicySpec
	ports          []portArgument
	serialize      bool
	threads        int
	verbosity      int
	difficulty     int
	maxDifficulty  int
	preamble       wire.Generation
	source         policy.ImageSource
	metrics        string
	collateral     string
	reply          Reply
	profile        Profile
	fresh          Fresh
	set            map[string]bool
}

// portArgument is a -S, -F, -R or -p.
type portArgument struct {
	listen      uint16
	kind        Kind
	policy      string
	destination Destination
}

// Parse reads the command line of the reference's router (attestation.md section 14.1), without the program's name.
// Short flags may be joined with their values and with each other, long ones take "=value" or the next argument. read
// reads the file of -c; ports on the command line replace the file's.
func Parse(args []string, read func(path string) ([]byte, error)) (*Config, error) {
	line := cli{maxDifficulty: pow.DefaultAccepted, difficulty: pow.DefaultDifficulty, reply: Early, profile: V1, set: map[string]bool{}}
	fs := line.flags()
	split, err := separate(args)
	if err != nil {
		return nil, err
	}
	if err := fs.Parse(split); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("argument %q belongs to no flag", fs.Arg(0))
	}
	fs.Visit(func(f *flag.Flag) { line.set[f.Name] = true })
	if line.set["g"] {
		return nil, ErrExample
	}
	return line.join(read)
}

// flags is the reference's table and ours below it.
func (l *cli) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("router", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.IntVar(&l.verbosity, "v", 0, "verbosity")
	fs.StringVar(&l.file, "c", "", "configuration `file`")
	fs.Func("P", "policy `name:type[:hash,...]`", l.addPolicy)
	fs.Func("S", "SOCKS5 listener `port@policy[:hash,...]`", l.addPort(SOCKS5))
	fs.Func("F", "forward listener `port:host:port@policy[:hash,...]`", l.addPort(Forward))
	fs.Func("R", "reverse listener `port:host:port@policy[:hash,...]`", l.addPort(Reverse))
	fs.Func("p", "listener in the old form, `port:type:policy[:host:port]`", l.addLegacy)
	fs.BoolVar(&l.serialize, "s", false, "write the attestation preamble to the local side")
	fs.BoolVar(&l.serialize, "serialize-info", false, "the same as -s")
	fs.Func("collateral-hash", "root key `ids` to trust; only Intel's is accepted", checkRoots)
	fs.StringVar(&l.certBase, "C", "", "certificate `base` name: base_cert.pem and base_key.pem")
	fs.IntVar(&l.threads, "t", 0, "processors to use")
	fs.IntVar(&l.difficulty, "d", l.difficulty, "proof-of-work difficulty to ask for")
	fs.IntVar(&l.maxDifficulty, "m", l.maxDifficulty, "greatest difficulty to solve")
	fs.Bool("g", false, "print an example configuration")
	fs.Func("preamble", "`layout` of the preamble: apr or dec", into(&l.preamble, wire.ParseGeneration))
	fs.Func("image-source", "who lists images for tdx policies without any: `list`, chain or defer", into(&l.source, policy.ParseImageSource))
	fs.StringVar(&l.metrics, "metrics", "", "serve Prometheus text on `address`")
	fs.StringVar(&l.collateral, "collateral", "", "`folder` or file with offline collateral")
	fs.StringVar((*string)(&l.reply), "socks-reply", string(l.reply), "answer SOCKS `early` (TCP stands) or late (the peer is admitted)")
	fs.StringVar((*string)(&l.profile), "profile", string(l.profile), "RA-TLS wire profile: `v1`, v2 or auto")
	fs.Func("fresh", "quotes of the moment, bound to the connection: `off`, offer or require", into(&l.fresh, ParseFresh))
	return fs
}

func into[T any](dst *T, parse func(string) (T, error)) func(string) error {
	return func(text string) (err error) {
		*dst, err = parse(text)
		return err
	}
}

// Usage lists the flags.
func Usage(w io.Writer) {
	fs := new(cli).flags()
	fs.SetOutput(w)
	_, _ = io.WriteString(w, "usage: init router [flags]\n")
	fs.PrintDefaults()
}

// separate splits what the reference's parser lets one join, so that -sS8116@tdx is -s -S 8116@tdx.
func separate(args []string) ([]string, error) {
	if len(args) > maxArguments {
		return nil, fmt.Errorf("%d arguments, at most %d", len(args), maxArguments)
	}
	out := make([]string, 0, 2*len(args))
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case len(a) > maxArgument:
			return nil, fmt.Errorf("an argument of %d bytes, at most %d", len(a), maxArgument)
		case a == "--" || a == "-" || !strings.HasPrefix(a, "-"):
			return append(out, args[i:]...), nil
		case strings.HasPrefix(a, "--"):
			if out = append(out, a); takesNext(a[2:]) && i+1 < len(args) {
				i++
				out = append(out, args[i])
			}
		default:
			words, open := joined(a[1:])
			if out = append(out, words...); open && i+1 < len(args) {
				i++
				out = append(out, args[i])
			}
		}
	}
	return out, nil
}

// takesNext tells whether a long flag's value is the next argument.
func takesNext(name string) bool {
	return !strings.Contains(name, "=") && !slices.Contains([]string{"serialize-info", "s", "g", "h", "help"}, name)
}

// joined splits short flags; open says that the last one's value is the next argument.
func joined(letters string) (words []string, open bool) {
	const switches = "sgh"
	for i := range len(letters) { // bytes: every flag is one
		words = append(words, "-"+letters[i:i+1])
		if strings.IndexByte(switches, letters[i]) < 0 {
			if rest := letters[i+1:]; rest != "" {
				return append(words, rest), false
			}
			return words, true
		}
	}
	return words, false
}

// addPolicy reads name:type[:hashes].
func (l *cli) addPolicy(text string) error {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) < 2 {
		return fmt.Errorf("%q is not name:type[:hash,...]", text)
	}
	var hashes []string
	if len(parts) == 3 {
		hashes = strings.Split(parts[2], ",")
	}
	rules, err := inline(hashes)
	l.policies = append(l.policies, PolicySpec{Name: parts[0], Type: parts[1], Rules: rules, Origin: "-P " + parts[0]})
	return err
}

// addPort reads port[:host:port]@policy[:hashes].
func (l *cli) addPort(kind Kind) func(string) error {
	return func(text string) error {
		where, who, ok := strings.Cut(text, "@")
		if !ok {
			return fmt.Errorf("%q names no policy: write PORT...@POLICY", text)
		}
		arg := portArgument{kind: kind}
		number, rest, more := strings.Cut(where, ":")
		var err error
		if arg.listen, err = portNumber(number); err != nil {
			return err
		}
		switch {
		case more && kind == SOCKS5:
			return fmt.Errorf("%q: a SOCKS5 listener leads where the program says, not to %s", text, rest)
		case !more && kind != SOCKS5:
			return fmt.Errorf("%q leads nowhere: write PORT:HOST:PORT@POLICY", text)
		case more:
			if arg.destination, err = destination(rest); err != nil {
				return err
			}
		}
		name, list, hashed := strings.Cut(who, ":")
		if hashed {
			if name, err = l.inlinePolicy(name, strings.Split(list, ","), arg.listen); err != nil {
				return err
			}
		}
		arg.policy = name
		l.ports = append(l.ports, arg)
		return nil
	}
}

// inlinePolicy makes the policy of hashes written after a built-in name, called as in the reference.
func (l *cli) inlinePolicy(name string, hashes []string, port uint16) (string, error) {
	if !isBuiltin(name) {
		return "", fmt.Errorf("policy %q is not built in: list its hashes where it is defined", name)
	}
	rules, err := inline(hashes)
	own := fmt.Sprintf("%s_inline_%d", name, port)
	l.policies = append(l.policies, PolicySpec{Name: own, Type: name, Rules: rules, Origin: fmt.Sprintf("hashes of port %d", port)})
	return own, err
}

// addLegacy reads port:type:policy[:host:port].
func (l *cli) addLegacy(text string) error {
	parts := strings.SplitN(text, ":", 4)
	if len(parts) < 3 {
		return fmt.Errorf("%q is not port:type:policy[:host:port]", text)
	}
	number, err := portNumber(parts[0])
	arg := portArgument{listen: number, kind: Kind(parts[1]), policy: parts[2]}
	if err == nil && len(parts) == 4 && parts[3] != "" {
		arg.destination, err = destination(parts[3])
	}
	l.ports = append(l.ports, arg)
	return err
}

// checkRoots reads the root key ids to trust. Only Intel's can be given here: no flag may add a trust root.
func checkRoots(text string) error {
	intel := dcap.IntelRootID()
	for word := range strings.SplitSeq(text, ",") {
		raw, err := hex.DecodeString(word)
		if err != nil || len(raw) != len(intel) {
			return fmt.Errorf("root key id %q is not %d hex digits", word, 2*len(intel))
		}
		if dcap.RootID(raw) != intel {
			return fmt.Errorf("root key id %q is not Intel's: a simulated root is trusted only by a policy of a local network's file that lists it and says allow_simulated", word)
		}
	}
	return nil
}

// destination reads host:port with an IPv6 address in brackets.
func destination(text string) (Destination, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Destination{}, fmt.Errorf("%q is not HOST:PORT or [IPV6]:PORT", text)
	}
	number, err := portNumber(port)
	if err != nil {
		return Destination{}, err
	}
	return Destination{Host: host, Port: number}, checkHost(host)
}

// portNumber reads a decimal of the reference's range, written in one way only.
func portNumber(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != text || n < firstPort {
		return 0, fmt.Errorf("port %q is not a number in %d..%d", text, firstPort, lastPort)
	}
	return uint16(n), nil
}
