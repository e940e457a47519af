package main

import "github.com/spf13/cobra"

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Write what makes a shell complete weir's commands", Args: cobra.ExactArgs(1),
		ValidArgs: []string{"bash", "zsh", "fish"},
		Long: `Write a script that makes a shell complete commands and flags, and the names of topics, groups and profiles: those of
topics and groups are asked of the broker, which has less than half a second to answer.

  bash   weir completion bash > ~/.local/share/bash-completion/completions/weir
  zsh    weir completion zsh > "${fpath[1]}/_weir"
  fish   weir completion fish > ~/.config/fish/completions/weir.fish`,
		Example: `  weir completion bash
  weir completion fish > weir.fish`,
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return c.Root().GenZshCompletion(a.stdout)
			case "fish":
				return c.Root().GenFishCompletion(a.stdout, true)
			}
			return usage("there is no completion for %q: bash, zsh and fish have one", args[0])
		},
	}
}
