/*
 * profctl_completion.c - profctl completion bash|zsh: what the shell is to know, out of the tables.
 */
#include <stdio.h>
#include <string.h>

#include "tool/completion.h"

static void print_words(const struct completion *c, bool options)
{
    for (size_t i = 0; i < c->n; i++)
        if ((c->word[i][0] == '-') == options)
            printf("%s ", c->word[i]);
}

/* Processes with libprof, by a list that wakes none; and files. */
static const char pids[] = "profctl list --json 2>/dev/null | "
                           "sed -n 's/.*\"pid\":\\([0-9]*\\).*/\\1/p'";

static void print_bash(const struct completion *c)
{
    printf("# bash completion of profctl; made by \"profctl completion bash\".\n"
           "_profctl()\n{\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]}\n"
           "    if [[ ${COMP_WORDS[1]} == run && $COMP_CWORD -gt 1 ]]; then\n"
           "        COMPREPLY=($(compgen -c -- \"$cur\"))\n"
           "    elif [[ $cur == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W '");
    print_words(c, true);
    printf("' -- \"$cur\"))\n"
           "    elif [[ $COMP_CWORD -eq 1 || ${COMP_WORDS[1]} == help ]]; then\n"
           "        COMPREPLY=($(compgen -W '");
    print_words(c, false);
    printf("' -- \"$cur\"))\n"
           "    else\n"
           "        COMPREPLY=($(compgen -W \"$(%s)\" -- \"$cur\") $(compgen -f -- \"$cur\"))\n"
           "    fi\n"
           "}\n"
           "complete -o filenames -F _profctl profctl\n",
           pids);
}

static void print_zsh(const struct completion *c)
{
    printf("#compdef profctl\n"
           "# zsh completion of profctl; made by \"profctl completion zsh\".\n"
           "_profctl()\n{\n"
           "    if [[ $PREFIX == -* ]]; then\n"
           "        compadd -- ");
    print_words(c, true);
    printf("\n    elif (( CURRENT == 2 )) || [[ ${words[2]} == help ]]; then\n"
           "        compadd -- ");
    print_words(c, false);
    printf("\n    else\n"
           "        compadd -- ${(f)\"$(%s)\"}\n"
           "        _files\n"
           "    fi\n"
           "}\n"
           "_profctl \"$@\"\n",
           pids);
}

int completion_print(const char *shell, const struct completion *c)
{
    if (strcmp(shell, "bash") == 0)
        print_bash(c);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(c);
    else
        return ctl_say(CTL_USAGE, "profctl completion bash, or zsh; there is none for %s.", shell);
    return CTL_OK;
}
