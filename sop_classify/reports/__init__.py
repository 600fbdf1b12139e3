"""What is shown of finished trainings: tables and figures."""
