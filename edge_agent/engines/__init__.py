"""What several engines share, so that health, truth and cut rules are the same whichever infers.

kept_alive   a process that holds a model, started again when it ends
child_start  what such a process does first of all
obituary     how it ended, in words
watchdog     whether it hangs
model_file   the file of an engine that loads one
fitting      prompt and references made to fit the context (pure)
thoughts     what a model thought, taken out of what it says (pure)
chat         the conversation with a server, its own or somebody else's
"""
