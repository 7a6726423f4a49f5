package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/host/publish"
)

const (
	// agreementDeployValue pays for the deployment and the first rent.
	agreementDeployValue bind.Nano = 15e7
	agreementValue       bind.Nano = 3e8
	// maxSpan bounds the durations of an agreement; they are 32 bits of seconds on chain.
	maxSpan = 10 * 366 * 24 * time.Hour
)

// newWorkloadCmd is the noun `workload`: a volume that a user rents on a farmer's node.
func newWorkloadCmd(a *app) *cobra.Command {
	cmd := newContractCmd(a, "workload", "Rent a volume on a farmer's node: agreement, payment, report, end", newWorkloadStatusCmd, workloadVerbs())
	cmd.AddCommand(newWorkloadWatchCmd(a))
	return cmd
}

func workloadVerbs() []orderVerb {
	return []orderVerb{
		{
			name: "create", short: "Deploy the agreement of a user and a node; its definition's hash is all that is on chain",
			example: "  cocoon workload create --node-key HEX --workload HEX --size-gib 9 --registry EQ... --sign-with k\n" +
				"  cocoon workload create --node-key HEX --workload HEX --size-gib 9 --price-key HEX --owner EQ...",
			flags: createFlags, build: createWorkload,
		},
		{
			name: "quote", short: "Let the registry of farms send the agreement its price; anyone may", target: true, build: quoteWorkload,
			example: "  cocoon workload quote EQ..." + chainExample + "\n  cocoon workload quote EQ... --from EQ...",
		},
		{
			name: "price", short: "Give the agreement a price that its price source signs", target: true, flags: priceFlags, build: priceWorkload,
			example: "  cocoon workload price EQ... --key k --farmer EQ... --hourly 0.02" + chainExample + "\n" +
				"  cocoon workload price EQ... --key k --farmer EQ... --hourly 1 --farm-key 64HEX --from EQ...",
		},
		{
			name: "accept", short: "Accept the agreement, by the farmer's wallet or the farm's key", target: true, build: acceptWorkload,
			flags: func(f *pflag.FlagSet, in *orderInput) {
				in.word(f, "key", "file with the farm's key (default: the farmer's wallet)")
			},
			example: "  cocoon workload accept EQ..." + chainExample + "\n  cocoon workload accept EQ... --key farm.key --from EQ...",
		},
		{
			name: "fund", short: "Pay into the deposit; anyone may", target: true, flags: amountFlag, build: fundWorkload,
			example: "  cocoon workload fund EQ... --amount 30" + chainExample + "\n  cocoon workload fund EQ... --amount 30 --from EQ...",
		},
		{
			name: "report", short: "Bring the node's report that the workload runs, or does not; anyone may", target: true, flags: reportFlags, build: reportWorkload,
			example: "  cocoon workload report EQ... --key node.key" + chainExample + "\n  cocoon workload report EQ... --key node.key --failed --from EQ...",
		},
		{
			name: "withdraw", short: "Pay farmers what is earned, up to four agreements a message; anyone may", target: true, many: true,
			example: "  cocoon workload withdraw EQ... EQ..." + chainExample + "\n  cocoon workload withdraw EQ... --from EQ...",
			build: onWorkload("withdraw", false, func(q uint64, from *address.Address) bind.Message {
				return &bind.AgreementWithdraw{QueryID: q, Excess: from}
			}),
		},
		{
			name: "cancel", short: "End the agreement, by the user: the farmer gets what is earned, the user the rest", target: true,
			example: "  cocoon workload cancel EQ..." + chainExample + "\n  cocoon workload cancel EQ...",
			build: onWorkload("cancel", true, func(q uint64, from *address.Address) bind.Message {
				return &bind.AgreementCancel{QueryID: q, Excess: from}
			}),
		},
		{
			name: "expire", short: "End an agreement whose deadline is over; anyone may", target: true,
			example: "  cocoon workload expire EQ..." + chainExample + "\n  cocoon workload expire EQ... --from EQ...",
			build: onWorkload("expire", false, func(q uint64, from *address.Address) bind.Message {
				return &bind.AgreementExpire{QueryID: q, Excess: from}
			}),
		},
	}
}

func createFlags(f *pflag.FlagSet, in *orderInput) {
	ownerFlag(f, in)
	in.word(f, "node-key", "the node's public key, 64 hex digits")
	in.word(f, "workload", "SHA-256 of the encrypted definition, 64 hex digits")
	in.word(f, "registry", "registry of farms that gives the price")
	in.word(f, "price-key", "public key that signs prices instead, 64 hex digits")
	in.word(f, "max-hourly", "highest price in TON per hour (default: any)")
	in.count(f, "size-gib", 0, "size of the volume in GiB")
	in.count(f, "kind", 0, "kind of workload in the farm's list of prices")
	in.count(f, "farm", 0, "the farm's id")
	in.count(f, "nonce", 0, "tells equal agreements apart (default: the clock)")
	in.count(f, "min-hours", 1, "hours that the first deposit must pay for")
	in.within(f, "accept-within", 24*time.Hour, "time for price and acceptance")
	in.within(f, "deploy-within", 48*time.Hour, "time for deposit and deployment")
	in.within(f, "grace", 72*time.Hour, "time to pay after the deposit is used up")
}

func priceFlags(f *pflag.FlagSet, in *orderInput) {
	in.word(f, "key", "file with the price source's key")
	in.word(f, "farmer", "address that gets the money")
	in.word(f, "hourly", "price in TON per hour")
	in.word(f, "farm-key", "public key that accepts for the farm, 64 hex digits")
	in.count(f, "version", 1, "version of the farm's prices")
	in.within(f, "valid", time.Hour, "how long the price may be used")
}

func reportFlags(f *pflag.FlagSet, in *orderInput) {
	in.word(f, "key", "file with the node's key")
	in.word(f, "log-hash", "SHA-256 of the deployment's log, 64 hex digits")
	f.BoolVar(&in.failed, "failed", false, "the deployment did not succeed: the deposit goes back")
}

// bounded reads a number flag that has fewer bits on chain.
func (c *orderCase) bounded(flag string, most uint64) (uint64, error) {
	n := *c.in.number[flag]
	if n > most {
		return 0, cli.Usagef("--%s: %d is above %d", flag, n, most)
	}
	return n, nil
}

// after is the Unix time a duration from now.
func (c *orderCase) after(flag string) (uint32, error) {
	d := *c.in.span[flag]
	if d <= 0 || d > maxSpan {
		return 0, cli.Usagef("--%s: %s is not between 0 and %s", flag, d, maxSpan)
	}
	at := c.site.Head.Time
	if c.now.After(at) {
		at = c.now
	}
	return uint32(at.Add(d).Unix()), nil //nolint:gosec // TON's times are 32 bits wide
}

// createTerms reads the flags of `create`.
func (c *orderCase) createTerms(user *address.Address) (bind.AgreementTerms, error) {
	t := bind.AgreementTerms{User: user, Nonce: *c.in.number["nonce"]}
	if t.Nonce == 0 {
		t.Nonce = c.query
	}
	var errs [8]error
	t.NodeKey, errs[0] = hashOf("--node-key", *c.in.text["node-key"])
	t.WorkloadHash, errs[1] = hashOf("--workload", *c.in.text["workload"])
	t.AcceptBy, errs[2] = c.after("accept-within")
	t.DeployBy, errs[3] = c.after("deploy-within")
	var size, kind, hours uint64
	size, errs[4] = c.bounded("size-gib", math.MaxUint32)
	kind, errs[5] = c.bounded("kind", math.MaxUint8)
	hours, errs[6] = c.bounded("min-hours", math.MaxUint16)
	t.SizeGiB, t.WorkloadKind, t.MinHours = uint32(size), uint8(kind), uint16(hours) //nolint:gosec // bounded above
	t.Farm = *c.in.number["farm"]
	if text := *c.in.text["max-hourly"]; text != "" {
		t.MaxHourly, errs[7] = publish.ParseTON(text)
	}
	for _, err := range errs {
		if err != nil {
			return t, cli.Tag(cli.KindUsage, err, "run \"cocoon workload create --help\"")
		}
	}
	grace := *c.in.span["grace"]
	if grace < 0 || grace > maxSpan || t.SizeGiB == 0 || t.AcceptBy > t.DeployBy {
		return t, cli.Usagef("--grace must not be negative, --size-gib must not be zero, --accept-within must not exceed --deploy-within")
	}
	t.Grace = uint32(grace / time.Second)
	return t, c.priceSource(&t)
}

func (c *orderCase) priceSource(t *bind.AgreementTerms) error {
	registry, key := *c.in.text["registry"], *c.in.text["price-key"]
	var err error
	switch {
	case (registry == "") == (key == ""):
		return cli.Tag(cli.KindUsage, errors.New("one of --registry and --price-key is needed"), "a registry of farms gives prices, or a key signs them")
	case key != "":
		t.PriceSource, t.Registry = bind.PriceSigned, t.User
		t.SourceKey, err = hashOf("--price-key", key)
	default:
		t.PriceSource = bind.PriceOfRegistry
		t.Registry, err = parseAddress("--registry", registry)
	}
	return err
}

func createWorkload(c *orderCase) (*address.Address, orderMaker, error) {
	user, err := c.ownerFlag()
	if err != nil {
		return nil, nil, err
	}
	terms, err := c.createTerms(user)
	if err != nil {
		return nil, nil, err
	}
	in, err := bind.NewAgreement(code.Agreement(), terms)
	if err != nil {
		return nil, nil, cli.Tag(cli.KindUsage, err)
	}
	return user, func(*address.Address) ([]publish.Order, error) {
		return deploy("deploy agreement", in, agreementDeployValue), nil
	}, nil
}

// agreement reads the agreement that the verb is about. Its address must follow from its terms: anything else may have
// been deployed with a forged state.
func (c *orderCase) agreement() (bind.AgreementStorage, error) {
	s, err := bind.ParseAgreementStorage(c.target.Data)
	if err != nil {
		return s, wrongContract(c.target, "agreement", err)
	}
	in, err := bind.NewAgreement(c.target.Code, s.Terms)
	if err != nil {
		return s, err
	}
	id, ok := code.Recognise(code.Hash(c.target.Code.Hash()))
	if !ok || id.Contract != "agreement" || !in.Address.Equals(c.target.Address) {
		return s, cli.Tag(cli.KindDifference, fmt.Errorf("%s is no agreement: its address does not follow from our code and its terms", c.target.Address),
			"send nothing there")
	}
	return s, nil
}

func quoteWorkload(c *orderCase) (*address.Address, orderMaker, error) {
	s, err := c.agreement()
	if err != nil {
		return nil, nil, err
	}
	if s.Terms.PriceSource != bind.PriceOfRegistry {
		return nil, nil, cli.Tag(cli.KindUsage, errors.New("the agreement takes signed prices, none of a registry"), "\"cocoon workload price\" brings one")
	}
	terms, err := s.Terms.Cell()
	if err != nil {
		return nil, nil, err
	}
	return nil, func(from *address.Address) ([]publish.Order, error) {
		return tell("ask for a price", s.Terms.Registry, agreementValue, &bind.FarmQuote{
			QueryID: c.query, Farm: s.Terms.Farm, Excess: from, Agreement: c.target.Address, Terms: terms,
		})
	}, nil
}

// keyFile reads the key that a message itself is signed with.
func (c *orderCase) keyFile() (*publish.Signer, error) {
	name := *c.in.text["key"]
	if name == "" {
		return nil, cli.Tag(cli.KindUsage, errors.New("--key is missing"), "name the file with the key, as \"cocoon wallet new FILE\" writes it")
	}
	return readSigner(c.app, name)
}

func priceWorkload(c *orderCase) (*address.Address, orderMaker, error) {
	key, err := c.keyFile()
	if err != nil {
		return nil, nil, err
	}
	s, err := c.agreement()
	if err != nil {
		return nil, nil, err
	}
	terms, err := s.Terms.Cell()
	if err != nil {
		return nil, nil, err
	}
	p := &bind.PricePayload{Agreement: c.target.Address, Farm: s.Terms.Farm, TermsHash: bind.Hash(terms.Hash())}
	version, err := c.bounded("version", math.MaxUint32)
	if err != nil {
		return nil, nil, err
	}
	p.Version = uint32(version) //nolint:gosec // bounded above
	if p.Farmer, err = parseAddress("--farmer", *c.in.text["farmer"]); err != nil {
		return nil, nil, err
	}
	if p.Hourly, err = publish.ParseTON(*c.in.text["hourly"]); err != nil {
		return nil, nil, cli.Tag(cli.KindUsage, fmt.Errorf("--hourly: %w", err))
	}
	if p.ValidUntil, err = c.after("valid"); err != nil {
		return nil, nil, err
	}
	if text := *c.in.text["farm-key"]; text != "" {
		if p.FarmKey, err = hashOf("--farm-key", text); err != nil {
			return nil, nil, err
		}
	}
	return nil, c.signedBy(key, "give a price", p, func(s bind.Signed) bind.Message { return &bind.AgreementPrice{Signed: s} }), nil
}

// signedBy makes the order that brings a signed payload; the excess goes to whoever sends it.
func (c *orderCase) signedBy(key *publish.Signer, what string, p bind.SignedPayload, wrap func(bind.Signed) bind.Message) orderMaker {
	return func(from *address.Address) ([]publish.Order, error) {
		signed, err := key.SignPayload(c.query, from, p)
		if err != nil {
			return nil, cli.Tag(cli.KindUsage, err)
		}
		return tell(what, c.target.Address, agreementValue, wrap(signed))
	}
}

func acceptWorkload(c *orderCase) (*address.Address, orderMaker, error) {
	s, err := c.agreement()
	if err != nil {
		return nil, nil, err
	}
	if s.Price == nil {
		return nil, nil, cli.Tag(cli.KindDifference, errors.New("the agreement has no price yet"), "\"cocoon workload quote\" or \"cocoon workload price\" brings one")
	}
	if *c.in.text["key"] == "" {
		return s.Price.Farmer, func(*address.Address) ([]publish.Order, error) {
			return tell("accept", c.target.Address, agreementValue, &bind.AgreementAccept{QueryID: c.query})
		}, nil
	}
	key, err := c.keyFile()
	if err != nil {
		return nil, nil, err
	}
	agreed, err := s.Agreed()
	if err != nil {
		return nil, nil, err
	}
	p := &bind.AcceptPayload{Agreement: c.target.Address, Agreed: agreed, ValidUntil: s.Terms.AcceptBy}
	return nil, c.signedBy(key, "accept", p, func(s bind.Signed) bind.Message { return &bind.AgreementAcceptSigned{Signed: s} }), nil
}

func fundWorkload(c *orderCase) (*address.Address, orderMaker, error) {
	amount, err := c.amount()
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.agreement(); err != nil {
		return nil, nil, err
	}
	return nil, func(from *address.Address) ([]publish.Order, error) {
		return tell("fund", c.target.Address, amount+agreementValue, &bind.AgreementFund{QueryID: c.query, Amount: amount, Excess: from})
	}, nil
}

func reportWorkload(c *orderCase) (*address.Address, orderMaker, error) {
	key, err := c.keyFile()
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.agreement(); err != nil {
		return nil, nil, err
	}
	p := &bind.ReportPayload{Agreement: c.target.Address, Result: bind.Deployed, DeployedAt: uint32(c.site.Head.Time.Unix())} //nolint:gosec // 32 bits on chain
	if c.in.failed {
		p.Result = bind.DeployFailed
	}
	if text := *c.in.text["log-hash"]; text != "" {
		if p.LogHash, err = hashOf("--log-hash", text); err != nil {
			return nil, nil, err
		}
	}
	return nil, c.signedBy(key, "report", p, func(s bind.Signed) bind.Message { return &bind.AgreementReport{Signed: s} }), nil
}

// onWorkload is a verb with a body of its own, of the user or of anybody.
func onWorkload(what string, byUser bool, body func(q uint64, from *address.Address) bind.Message) func(*orderCase) (*address.Address, orderMaker, error) {
	return func(c *orderCase) (*address.Address, orderMaker, error) {
		s, err := c.agreement()
		if err != nil {
			return nil, nil, err
		}
		var owner *address.Address
		if byUser {
			owner = s.Terms.User
		}
		at := c.target.Address // the case goes on to the next contract
		return owner, func(from *address.Address) ([]publish.Order, error) {
			return tell(what, at, agreementValue, body(c.query, from))
		}, nil
	}
}
