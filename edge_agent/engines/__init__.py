"""What several engines share, so that health, truth and cut rules are the same whichever infers.

kept_alive   a process that holds a model, started again when it ends
model_file   the file of an engine that loads one
"""
