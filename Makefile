# One line per verb; the logic is in cmd/cocoon and in the tests (image/README.md, tests/).
COCOON = go run ./cmd/cocoon
VARIANT ?= cpu
CONCURRENT = ./guest/... ./host/... ./cmd/... ./contracts/chain/... ./contracts/wire/... \
	./measure/dcap ./measure/policy ./measure/ratls/... ./measure/measuretest \
	./image/deb ./image/disk ./image/fetch ./image/fs ./image/model ./image/pipeline ./image/verity ./image/wheel
# go-nvml calls deprecated functions by design; its 35 warnings would hide ours.
export CGO_CFLAGS ?= -O2 -g -Wno-deprecated-declarations

.PHONY: help build test race fuzz boot bench stats contracts image image-fetch image-lock image-verify oci lint fmt clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## compile everything
	go build ./...

test: ## run the tests; COCOON_TEST=GROUP,... adds the expensive ones (tests/README.md)
	go test -timeout 50m ./...

race: ## run the tests of what is concurrent with the race detector
	go test -race $(CONCURRENT)

fuzz: ## give every fuzz target a turn of COCOON_FUZZTIME
	COCOON_TEST=fuzz go test -timeout 3h -count 1 -v -run TestTurns ./tests/fuzz

boot: ## boot the images in QEMU and hold the firmware's log against the prediction
	COCOON_TEST=boot go test -timeout 50m -count 1 -v ./tests/boot

bench: ## print figures beside the named peers in the same run
	COCOON_TEST=bench go test -timeout 50m -count 1 -v -run '^$$' -bench . ./tests/bench

stats: ## count code, tests, functions and comments
	go test -count 1 -v -run TestStats ./tests/arch

contracts: ## compile the contracts with the pinned compiler into contracts/code
	go test -count 1 -run TestCodeIsWhatTheSourcesGive ./contracts/build -update

image: ## build proxy and worker; VARIANT=gpu builds worker-gpu
	$(COCOON) image build --variant $(VARIANT)

oci: ## build the gateway's container image into out/gateway.tar
	mkdir -p out && $(COCOON) gateway image out/gateway.tar

image-fetch: ## fetch every locked input into the cache
	$(COCOON) image fetch

image-lock: ## resolve the recipe and write the lock
	$(COCOON) image lock update

image-verify: ## build twice under different conditions and compare every byte
	$(COCOON) image verify --rebuild --variant $(VARIANT)

lint: ## run the linter with the project's rules
	golangci-lint run ./...

fmt: ## format the code
	golangci-lint fmt ./...

clean: ## delete built images; the cache stays
	rm -rf out bin
