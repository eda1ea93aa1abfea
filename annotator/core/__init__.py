"""Ground floor: settings, errors, database base, emotions, logging. Imports nothing of ours."""
