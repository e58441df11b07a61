/* Scripts that complete command lines in shells. Each asks the program itself (__complete), so that it never is older
 * than the program. %1$s is the program's name. */
#include "cmd/cli.h"
#include <stdio.h>

/* bash parts words at "=" too: "--write-out" "=" "js" is put together again before the program is asked, and only the
 * last part is replaced. */
static const char bash_script[] =
    "# bash completion for %1$s:  source <(%1$s completion bash)\n"
    "# or put it into /usr/share/bash-completion/completions/%1$s\n"
    "_%1$s() {\n"
    "    local line word directive=0 joined= words=()\n"
    "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD}\"; do\n"
    "        if [[ ${#words[@]} -gt 0 && ( -n $joined || ( $word == = && ${words[${#words[@]} - 1]} == --* ) ) ]]; "
    "then\n"
    "            words[${#words[@]} - 1]+=$word\n"
    "            [[ $word == = ]] && joined=1 || joined=\n"
    "        else\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "    done\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        if [[ $line == :* ]]; then\n"
    "            directive=${line#:}\n"
    "        else\n"
    "            COMPREPLY+=(\"$line\")\n"
    "        fi\n"
    "    done < <(\"${COMP_WORDS[0]/#\\~/$HOME}\" __completeNoDesc \"${words[@]}\" 2>/dev/null)\n"
    "    if [[ $directive != 0 ]] && type compopt >/dev/null 2>&1; then\n"
    "        compopt +o default 2>/dev/null\n"
    "    fi\n"
    "}\n"
    "complete -o default -F _%1$s %1$s\n";

static const char zsh_script[] =
    "#compdef %1$s\n"
    "# zsh completion for %1$s:  source <(%1$s completion zsh)\n"
    "# or put it as _%1$s into a folder of $fpath\n"
    "_%1$s() {\n"
    "    local line directive=0\n"
    "    local -a lines candidates\n"
    "    lines=(\"${(@f)$(${~words[1]} __complete \"${(@Q)words[2,CURRENT-1]}\" \"${(Q)PREFIX}\" 2>/dev/null)}\")\n"
    "    [[ $PREFIX == --*=* ]] && compset -P '*='\n"
    "    for line in \"${lines[@]}\"; do\n"
    "        if [[ $line == :<-> ]]; then\n"
    "            directive=${line#:}\n"
    "        elif [[ $line == *$'\\t'* ]]; then\n"
    "            candidates+=(\"${${line%%%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "        elif [[ -n $line ]]; then\n"
    "            candidates+=(\"${line//:/\\\\:}\")\n"
    "        fi\n"
    "    done\n"
    "    if (( ${#candidates} )); then\n"
    "        _describe '%1$s' candidates\n"
    "    elif [[ $directive == 0 ]]; then\n"
    "        _files\n"
    "    fi\n"
    "}\n"
    "if [[ $funcstack[1] == _%1$s ]]; then\n"
    "    _%1$s \"$@\"\n"
    "else\n"
    "    compdef _%1$s %1$s\n"
    "fi\n";

static const char fish_script[] = "# fish completion for %1$s:  %1$s completion fish | source\n"
                                  "# or put it as %1$s.fish into ~/.config/fish/completions/\n"
                                  "function __%1$s_complete\n"
                                  "    set -l words (commandline -opc)\n"
                                  "    set -l current (commandline -ct)\n"
                                  "    set -l program $words[1]\n"
                                  "    set -e words[1]\n"
                                  "    set -l head (string match -r -- '^--[^=]*=' $current)\n"
                                  "    set -l found ($program __complete $words \"$current\" 2>/dev/null)\n"
                                  "    set -l directive $found[-1]\n"
                                  "    set -e found[-1]\n"
                                  "    if test (count $found) -eq 0 -a \"$directive\" = ':0'\n"
                                  "        __fish_complete_path (string replace -- \"$head\" '' \"$current\")\n"
                                  "    end\n"
                                  "    for line in $found\n"
                                  "        echo \"$head$line\"\n"
                                  "    end\n"
                                  "end\n"
                                  "complete -c %1$s -f -a '(__%1$s_complete)'\n";

static const char powershell_script[] =
    "# powershell completion for %1$s:  %1$s completion powershell | Out-String | Invoke-Expression\n"
    "Register-ArgumentCompleter -Native -CommandName '%1$s' -ScriptBlock {\n"
    "    param($word, $ast, $position)\n"
    "    $given = @($ast.CommandElements | Where-Object { $_.Extent.EndOffset -lt $position } |\n"
    "        Select-Object -Skip 1 | ForEach-Object { \"$_\" })\n"
    "    $head = if (\"$word\" -match '^--[^=]*=') { $Matches[0] } else { '' }\n"
    "    & '%1$s' __complete @given \"$word\" 2>$null | Where-Object { $_ -notmatch '^:\\d+$' } | ForEach-Object {\n"
    "        $name, $about = $_ -split \"`t\", 2\n"
    "        if (-not $about) { $about = $name }\n"
    "        [System.Management.Automation.CompletionResult]::new($head + $name, $name, 'ParameterValue', $about)\n"
    "    }\n"
    "}\n";

bool cli_print_completion(const struct cli_program *program, const char *shell, struct buffer *out)
{
    const char *name = program->name;
    if (strcmp(shell, "bash") == 0) {
        buffer_printf(out, bash_script, name);
    } else if (strcmp(shell, "zsh") == 0) {
        buffer_printf(out, zsh_script, name);
    } else if (strcmp(shell, "fish") == 0) {
        buffer_printf(out, fish_script, name);
    } else if (strcmp(shell, "powershell") == 0) {
        buffer_printf(out, powershell_script, name);
    } else {
        return false;
    }
    return true;
}

int cli_run_completion(struct cli_call *call)
{
    struct buffer text = {0};
    if (call->arg_count == 1 && cli_print_completion(call->program, call->args[0], &text)) {
        fwrite(text.data, 1, text.len, stdout);
        buffer_free(&text);
        return CLI_OK;
    }
    int status = cli_expect_args(call, 1);
    return status != 0 ? status
                       : cli_fail_usage(call, "invalid argument \"%s\" for \"%s completion\"", call->args[0],
                                        call->program->name);
}
