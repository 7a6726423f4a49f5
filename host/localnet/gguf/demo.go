package gguf

import "fmt"

// DemoTemplate is the chat template of Demo. It chooses the chain: with tools a call of one, a last message that mentions
// loop or json the chain of that name, anything else a greeting.
const DemoTemplate = `{{ bos_token }}{% for m in messages %}{% if m.role=='system' %}<|system|>{% elif m.role=='assistant' %}<|assistant|>` +
	`{% else %}<|user|>{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}{% if tools %}<|tool|>` +
	`{% elif 'loop' in messages[-1].content %}<|loop|>{% elif 'json' in messages[-1].content %}<|json|>{% else %}<|assistant|>{% endif %}{% endif %}`

// DemoTools is a chat template that shows engines how Demo writes a call, so that they read it back. It takes the place of
// the model's own.
const DemoTools = `{{ bos_token }}{% if tools %}<|system|>You may call these functions:{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
A call is written
<tool_call>
{"name": NAME, "arguments": ARGUMENTS}
</tool_call>{% endif %}{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{{ m.content or '' }}{% for call in m.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}</s>{% elif m.role == 'tool' %}<|user|><tool_response>{{ m.content }}</tool_response>` +
	`{% elif m.role == 'system' %}<|system|>{{ m.content }}{% else %}<|user|>{{ m.content }}{% endif %}{% endfor %}` +
	`{% if add_generation_prompt %}{% if tools and messages[-1].role != 'tool' %}<|tool|>{% elif 'loop' in messages[-1].content %}<|loop|>` +
	`{% elif 'json' in messages[-1].content %}<|json|>{% else %}<|assistant|>{% endif %}{% endif %}`

// Demo is the model of the tests and of local networks: one block that passes everything through, and four chains.
func Demo() (*Model, error) {
	const (
		heads, blocks = 4, 1
		context       = 4096
		forward       = 32
	)
	v := newVocabulary()
	for _, c := range []string{"<|user|>", "<|assistant|>", "<|system|>", "<|tool|>", "<|loop|>", "<|json|>"} {
		v.add(c, 0, control)
	}
	s := newScript(v) // a space is U+2581 in this tokenizer's words
	s.chain("<|assistant|>", []string{"Hello", "▁from", "▁a", "▁scripted", "▁model", "▁running", "▁inside", "▁llama", "-server", "."}, endOfText)
	s.chain("<|loop|>", []string{"tick"}, "tick")
	s.chain("<|tool|>", []string{
		"<tool_call>\n{\"name\":", "▁\"get_weather\",", "▁\"arguments\":", "▁{\"city\":", "▁\"Paris\"}}", "\n</tool_call>",
	}, endOfText)
	s.chain("<|json|>", []string{`{"answer":`, "▁42", "}"}, endOfText)
	if s.err != nil {
		return nil, fmt.Errorf("writing the demonstration's script: %w", s.err)
	}
	return &Model{
		Name: "scripted-scripted", Template: DemoTemplate, Heads: heads, Blocks: blocks, Context: context, Forward: forward,
		vocabulary: v, next: s.next,
	}, nil
}
